"""When a run validates, what it keeps of it, and what it says of scores that never come."""

import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from lasagna.errors import ConfigError
from lasagna.tasks import BestCheckpoint, RunCheckpoint, RunValidation
from lasagna.tasks.callbacks.validation import MonitorCheck

SCORES = {"val/toy/miou/lasagna-v1": [0.25, 0.75, 0.5], "val/toy/faults/lasagna-v1": [4.0, 2.0, 3.0]}


class Toy(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.validated = []
        self.batches = 0

    def training_step(self, batch):
        return self.layer(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.batches += 1

    def on_validation_epoch_end(self):
        for name, values in SCORES.items():
            self.log(name, values[len(self.validated) % 3])
        self.validated.append(self.global_step)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Cut(Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 5:
            raise InterruptedError


def train(folder, *callbacks, toy=None, ckpt_path=None, **options):
    data = DataLoader(torch.ones(10, 1))
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    options = {"max_steps": 7, "num_sanity_val_steps": 0} | options
    trainer = Trainer(default_root_dir=folder, callbacks=list(callbacks), **quiet, **options)
    toy = toy or Toy()
    trainer.fit(toy, data, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer, toy


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


@pytest.mark.parametrize(
    ("callback", "options", "said"),
    [
        (ModelCheckpoint, {"limit_val_batches": 0}, "ModelCheckpoint: .*no score 'test/miou'; there were none"),
        (BestCheckpoint, {}, "BestCheckpoint: .*no score 'test/miou'; there were val/toy/miou/lasagna-v1, val"),
    ],
)
def test_a_score_that_never_came_is_named(callback, options, said, tmp_path):
    with pytest.warns(UserWarning, match=said):
        train(tmp_path, RunValidation(), callback(monitor="test/miou"), MonitorCheck(), **options)
