"""A training that takes a fraction of a second: one weight, and validations with given scores."""

from __future__ import annotations

import torch
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

SCORES = {"val/toy/miou/lasagna-v1": [0.25, 0.75, 0.5], "val/toy/faults/lasagna-v1": [4.0, 2.0, 3.0]}
"""Score to its values in one validation after the other."""


class Toy(LightningModule):
    """Trains one weight and notes the steps after which it was validated."""

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


def make_trainer(folder, *callbacks, **options):
    """Return a trainer of seven steps that prints nothing."""
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    options = {"max_steps": 7, "num_sanity_val_steps": 0} | options
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), **quiet, **options)


def train(folder, *callbacks, toy=None, ckpt_path=None, **options):
    """Train and return the trainer and the module."""
    data = DataLoader(torch.ones(10, 1))
    trainer, toy = make_trainer(folder, *callbacks, **options), toy or Toy()
    trainer.fit(toy, data, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer, toy
