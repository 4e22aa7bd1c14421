"""An exponential moving average of the trained weights, which evaluation uses.

Lightning's ``WeightAveraging`` copies the entire module, including frozen parts, and stores the copy; this callback
keeps only the trained weights.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.tasks.training.division import release_weights
from lasagna.tasks.training.float32_copies import float32_weights

RAW_WEIGHTS = "raw_weights"
"""Key in a checkpoint: the weights to resume training with, while ``state_dict`` holds their average."""


class WeightAverage(Callback):
    """Exponential moving average of the trained weights.

    Validation and everything after training use the averages. A checkpoint holds both: the averages as ``state_dict``,
    so that they are loaded for use, and the raw weights as ``raw_weights``. The averages are kept in float32 or wider,
    since an average in bfloat16 stops far from where it should arrive.

    Args:
        decay: Share of the average that is kept at each step; at step n at most ``(1 + n) / (10 + n)``.

    Raises:
        ConfigError: If the decay is not in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"ema_decay: expected a number in [0, 1), got {decay}")
        self.decay = decay
        self.updates = 0
        self.step = 0
        self.averages: dict[str, Tensor] = {}
        self.raw: dict[str, Tensor] = {}  # while the averages are in use

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, unless a checkpoint has averages."""
        self._use_raw(pl_module)
        known = self.averages
        self.averages = {
            name: known.get(name, value).detach().to(value).clone()
            for name, value in float32_weights(trainer.optimizers, pl_module).items()
        }

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Update the averages after each optimiser step."""
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in float32_weights(trainer.optimizers, pl_module).items():
            self.averages[name].lerp_(value, 1 - decay)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the averages."""
        if trainer.state.fn == "fit" and self.averages:
            self._use_averages(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the raw weights again."""
        if trainer.state.fn == "fit":
            self._use_raw(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep using the averages, for a test that follows."""
        self._use_averages(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return how often the averages were updated."""
        return {"updates": self.updates, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count."""
        self.updates, self.step = state_dict["updates"], state_dict["step"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the averages as the state dict, and the raw weights beside them."""
        if not self.averages:
            return
        checkpoint[RAW_WEIGHTS] = self.raw or float32_weights(trainer.optimizers, pl_module)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **self.averages}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore raw weights and averages if training resumes; otherwise the averages are loaded as weights."""
        if trainer.state.fn != "fit" or RAW_WEIGHTS not in checkpoint:
            return
        self.averages = {name: checkpoint["state_dict"][name] for name in checkpoint[RAW_WEIGHTS]}
        self.raw = checkpoint[RAW_WEIGHTS]
        self._use_raw(pl_module)

    def _use_averages(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.raw:
            self.raw = {name: value.clone() for name, value in float32_weights(trainer.optimizers, pl_module).items()}
        _write(self.averages, pl_module)

    def _use_raw(self, pl_module: LightningModule) -> None:
        _write(self.raw, pl_module)
        self.raw = {}


@torch.no_grad()
def _write(values: dict[str, Tensor], module: LightningModule) -> None:
    # the averages of weights that are divided among processes are divided too
    release_weights(module)
    for name, value in values.items():
        module.get_parameter(name).copy_(value)
