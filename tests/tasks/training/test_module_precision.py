"""Training in bfloat16: how close it comes to float32, and what a checkpoint keeps of it."""

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lasagna.datamodules import ShardDataModule, Source
from lasagna.modules import Assistant, CausalLanguageModel, DotMaskHead, TinyVisionEncoder
from lasagna.tasks import AssistantTraining, Optimiser, Semantic
from tests.helpers.tiny_run import write_scenes

LLAMA = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 600,
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))


class Losses(Callback):
    """Starts from given weights, since torch draws others in other precisions before 2.15; keeps the losses."""

    def __init__(self, start=None):
        self.start, self.values = start, []

    def on_fit_start(self, trainer, pl_module):
        if self.start is not None:
            pl_module.load_state_dict(self.start)
        self.start = {name: value.clone() for name, value in pl_module.state_dict().items()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(float(outputs["loss"]))


def fit(shards, precision, steps, folder=None, resume=None, lr=3e-3, start=None, **options):
    """Train an assistant whose vision encoder is frozen; return trainer, training and losses."""
    checkpoint = ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=3)
    assistant = Assistant(
        TinyVisionEncoder((32, 32), weights="random"),
        CausalLanguageModel(LLAMA, "words", image_grid=(2, 2), max_length=256),
        DotMaskHead(8),
        "tiny",
    )
    training = AssistantTraining(
        assistant,
        optimiser=Optimiser(lr=lr, warmup_steps=2, schedule="constant"),
        trainable={"*": 1.0, "vision_encoder": 0.0},
        **options,
    )
    data = ShardDataModule(train=[Source(str(shards / "train"), Semantic())], batch_size=2, num_workers=0)
    losses = Losses(start)
    trainer = Trainer(
        accelerator="cpu",
        precision=precision,
        max_steps=steps,
        logger=False,
        enable_checkpointing=folder is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[losses] if folder is None else [losses, checkpoint],
    )
    trainer.fit(training, datamodule=data, ckpt_path=resume)
    return trainer, training, losses


@pytest.mark.filterwarnings("ignore")
def test_training_in_bfloat16_follows_that_in_float32(shards):
    *_, full = fit(shards, "32-true", 16)
    trainer, training, half = fit(shards, "bf16-true", 16, start=full.start)
    assert full.values[0] - full.values[-1] > 1
    assert half.values == pytest.approx(full.values, rel=0.01)
    weights = dict(training.assistant.named_parameters())
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    kept = trainer.optimizers[0].state_dict()["state"]
    assert {value.dtype for state in kept.values() for value in state.values()} == {torch.float32}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}], ids=["plain", "averaged"])
def test_training_in_bfloat16_resumes_to_the_same_bits(options, shards, tmp_path):
    fit(shards, "bf16-true", 6, tmp_path / "whole", **options)
    fit(shards, "bf16-true", 6, tmp_path / "resumed", tmp_path / "whole" / "step=3.ckpt", **options)
    whole, resumed = (torch.load(tmp_path / run / "step=6.ckpt", weights_only=True) for run in ("whole", "resumed"))
    for part in ("state_dict", "raw_weights"):
        wanted = whole.get(part, {})
        assert {value.dtype for value in wanted.values()} <= {torch.float32}
        assert all(torch.equal(resumed[part][name], value) for name, value in wanted.items()), part
