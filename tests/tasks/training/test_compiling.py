"""Compiled parts give the losses of plain ones, and answers come from the parts as they are."""

from __future__ import annotations

import pytest
from lightning import Callback, Trainer

from lasagna.datamodules import ShardDataModule, Source
from lasagna.errors import ConfigError
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.tasks import AssistantTraining, Semantic
from tests.helpers.data_fakes import write

PARTS = ("vision_encoder", "language_model", "mask_head", "prompt_projection")


class Losses(Callback):
    """Keeps the losses, and which parts are compiled in training and in validation."""

    def __init__(self):
        self.losses, self.trained, self.validated = [], set(), set()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(outputs["loss"]))
        self.trained |= {name for name in PARTS if "forward" in vars(getattr(pl_module.assistant, name))}

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.validated |= {name for name in PARTS if "forward" in vars(getattr(pl_module.assistant, name))}


def fit(shards, **settings):
    assistant = Assistant(
        TinyVisionEncoder((32, 32), weights="random"),
        TinyLanguageModel("random", projector="random", image_grid=(2, 2)),
        TinyMaskHead(weights="random"),
        "tiny",
    )
    source = Source(shards, Semantic(), name="made up")
    data, kept = ShardDataModule([source], val=[source], batch_size=2, samples_per_epoch=6), Losses()
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(
        accelerator="cpu", max_steps=3, val_check_interval=1, limit_val_batches=1, callbacks=[kept], **silent
    )
    trainer.fit(AssistantTraining(assistant, **settings), data)
    assert not any("forward" in vars(getattr(assistant, name)) for name in PARTS)
    return kept


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_parts_give_the_same_losses(tmp_path):
    write(tmp_path, 6)
    plain, compiled = fit(str(tmp_path)), fit(str(tmp_path), compile="aot_eager")
    assert compiled.losses == pytest.approx(plain.losses, rel=1e-4)
    assert len(compiled.losses) == 3
    assert (compiled.trained, compiled.validated) == ({*PARTS}, set())
    assert plain.trained == set()


@pytest.mark.slow
def test_a_backend_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"model.compile: there is no backend 'inductr'; choose one of .*inductor"):
        AssistantTraining(None, compile="inductr")
