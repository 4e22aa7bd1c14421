"""Gradients do not depend on how the samples of a step fall into batches and processes."""

from __future__ import annotations

import pytest
import torch
from lightning import Callback, Trainer

from lasagna.core.batch import StepCounts
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.datamodules import ShardDataModule, Source
from lasagna.datamodules.streaming.distributed import sum_over_processes
from lasagna.modules import Assistant, SegmentationLoss, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.tasks import AssistantTraining
from tests.helpers.data_fakes import Listing, write


class Uneven(Listing):
    """Asks for all names of every third record, and of the others for one that is absent."""

    def dialogues(self, record, rng):
        if int(record.key.rsplit("-", 1)[-1]) % 3 == 0:
            return super().dialogues(record, rng)
        return [Dialogue("categories", ("car",), (Entry("car", False),))]


class Gradients(Callback):
    """Keeps the gradients of each step, the masks of each batch, and a checkpoint after the first step."""

    def __init__(self, file=None):
        self.steps, self.masks, self.file = [], [], file

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.masks.append(len(batch.mask_rows))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if self.file is not None and trainer.global_step == 1 and not self.file.exists():
            trainer.save_checkpoint(self.file)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append(
            {name: each.grad.clone() for name, each in pl_module.named_parameters() if each.requires_grad}
        )


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write(folder, 12)
    return str(folder)


def gradients(shards, batch_size, accumulated, mean_over="step", limit=1.0, save=None, ckpt_path=None):
    """Train for an epoch, and return what was kept."""
    training = AssistantTraining(
        Assistant(
            TinyVisionEncoder((32, 32), weights="random"),
            TinyLanguageModel("random", projector="random", image_grid=(2, 2)),
            TinyMaskHead(weights="random"),
            "tiny",
        ),
        SegmentationLoss(mean_over=mean_over),
    )
    data = ShardDataModule([Source(shards, Uneven())], batch_size=batch_size, samples_per_epoch=12)
    kept = Gradients(save)
    silent = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=limit,
        accumulate_grad_batches=accumulated,
        callbacks=[kept],
        enable_checkpointing=False,
        **silent,
    )
    trainer.fit(training, data, ckpt_path=ckpt_path, weights_only=True)
    return kept


def test_a_step_of_small_batches_has_the_gradient_of_one_large_batch(shards):
    """Of 12 samples, 8 are one step and the rest of the epoch, fewer batches than accumulated, is another."""
    small = gradients(shards, 2, 4)
    assert len(small.steps) == 2
    assert len(set(small.masks[:4])) > 1
    assert 0 in small.masks
    large = gradients(shards, 8, 1)
    torch.testing.assert_close(small.steps[0], large.steps[0], rtol=1e-4, atol=1e-6)
    each_batch = gradients(shards, 2, 4, mean_over="batch").steps[0]
    name = "assistant.prompt_projection.0.weight"
    assert not torch.allclose(each_batch[name], large.steps[0][name])


def test_the_last_step_of_an_epoch_with_fewer_batches_is_a_whole_one(shards):
    """It has as few batches because the epoch ends, or because the trainer stops early."""
    whole = gradients(shards, 6, 1).steps[0]
    torch.testing.assert_close(gradients(shards, 2, 9, limit=3).steps[0], whole, rtol=1e-4, atol=1e-6)


def test_a_run_that_is_resumed_within_an_epoch_has_the_same_steps(shards, tmp_path):
    whole = gradients(shards, 2, 2, save=tmp_path / "one.ckpt").steps
    rest = gradients(shards, 2, 2, ckpt_path=tmp_path / "one.ckpt").steps
    assert (len(whole), len(rest)) == (3, 2)
    torch.testing.assert_close(rest, whole[1:], rtol=1e-4, atol=1e-6)


def test_processes_share_the_counts_of_a_step(monkeypatch):
    """Two processes, of which the other one has as many tokens and no masks."""
    asked = []

    def all_reduce(sums):
        asked.append(sums.tolist())
        sums += torch.tensor([7, 0, 2, 4, 9])[: len(sums)]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    assert sum_over_processes((7, 3), torch.device("cpu")) == [14, 3]
    training = AssistantTraining(Assistant(TinyVisionEncoder(), TinyLanguageModel(), TinyMaskHead(), "tiny"))
    training._trainer = type("Two", (), {"world_size": 2})()
    own = StepCounts(tokens=7, masks=3, divisor=4, apart=2, objects=5, names=6)
    assert training._over_processes(own) == training._over_processes(own) == StepCounts(14, 3, 8, 4, 9, 15)
    assert asked == [[7, 3], [7, 3, 2, 5, 6]]
