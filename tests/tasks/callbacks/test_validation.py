"""When a run validates, and what it keeps of it."""

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping

from lasagna.errors import ConfigError
from lasagna.tasks import BestCheckpoint, RunCheckpoint, RunValidation
from tests.helpers.toy_training import Toy, train


class Cut(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 5:
            raise InterruptedError


@pytest.mark.parametrize(
    ("options", "validated", "batches"),
    [
        ({}, [2, 4, 7], 6),
        ({"check_val_every_n_epoch": 9, "limit_val_batches": 1}, [2, 4, 7], 3),
        ({"accumulate_grad_batches": 2}, [2, 4, 5, 7], 8),
        ({"val_check_interval": 3}, [2, 3, 4, 6, 7], 10),
        ({"val_check_interval": "00:01:00:00"}, [2, 4, 7], 6),
        ({"max_steps": 1}, [1], 2),
        ({"max_steps": -1, "max_epochs": 1}, [3, 6, 10], 6),
        ({"limit_val_batches": 0}, [], 0),
    ],
)
def test_a_run_validates_evenly_and_at_its_end(options, validated, batches, tmp_path):
    trainer, toy = train(tmp_path, RunValidation(times=3, batches=2), RunCheckpoint(), **options)
    assert (toy.validated, toy.batches) == (validated, batches)
    assert trainer.limit_val_batches == options.get("limit_val_batches", 1.0)


@pytest.mark.parametrize(("chosen", "steps"), [(None, 3), (True, 7)])
def test_early_stopping_looks_at_each_validation(chosen, steps, tmp_path):
    settings = {"mode": "max", "patience": 1, "check_on_train_epoch_end": chosen}
    stopping = EarlyStopping("val/toy/miou/lasagna-v1", **settings)
    trainer, _ = train(tmp_path, RunValidation(times=7), stopping, RunCheckpoint())
    assert trainer.global_step == steps


def test_a_run_without_an_end_validates_as_the_trainer_does(tmp_path):
    _, toy = train(tmp_path, RunValidation(batches=None), RunCheckpoint(), max_steps=-1, max_time="00:00:00:01")
    assert toy.validated[0] == 10


@pytest.mark.parametrize(("times", "batches"), [(0, 1), (1, 0)])
def test_counts_are_positive(times, batches):
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        RunValidation(times, batches)


@pytest.mark.parametrize(
    ("monitor", "mode", "best"), [("val/*", None, 4), ("val/toy/faults/lasagna-v1", None, 4), ("*/miou/*", "min", 2)]
)
def test_the_best_checkpoint_is_kept_also_by_a_run_that_resumes(monitor, mode, best, tmp_path):
    def callbacks():
        return RunValidation(times=3), BestCheckpoint(monitor, mode), RunCheckpoint(every_n_steps=4)

    with pytest.raises(InterruptedError):
        train(tmp_path, *callbacks(), Cut())
    toy = Toy()
    toy.validated = [2, 4]
    train(tmp_path, *callbacks(), toy=toy, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert toy.validated == [2, 4, 7]
    assert torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["global_step"] == best
