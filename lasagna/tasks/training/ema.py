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

RAW_WEIGHTS = "raw_weights"
"""Key in a checkpoint: the weights to resume training with, while ``state_dict`` holds their average."""


class WeightAverage(Callback):
    """Exponential moving average of the trained weights.

    Validation and everything after training use the averages. A checkpoint holds both: the averages as ``state_dict``,
    so that they are loaded for use, and the raw weights as ``raw_weights``.

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
        self.others: dict[str, Tensor] = {}
        self.averaged_in_use = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the current weights, unless a checkpoint has averages."""
        trained = _trained(pl_module)
        if self.averaged_in_use:
            self._swap(pl_module)
        known = {name: value for name, value in self.others.items() if name in trained}
        self.others = {name: known.get(name, value).detach().clone().to(value) for name, value in trained.items()}

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
        with torch.no_grad():
            for name, value in _trained(pl_module).items():
                self.others[name].lerp_(value, 1 - decay)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the averages."""
        if trainer.state.fn == "fit" and self.others:
            self._swap(pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Use the raw weights again."""
        if self.averaged_in_use and trainer.state.fn == "fit":
            self._swap(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep using the averages, for a test that follows."""
        if not self.averaged_in_use:
            self._swap(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return how often the averages were updated."""
        return {"updates": self.updates, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count."""
        self.updates, self.step = state_dict["updates"], state_dict["step"]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the averages as the state dict, and the raw weights beside them."""
        if not self.others:
            return
        in_use = {name: checkpoint["state_dict"][name] for name in self.others}
        raw, averaged = (self.others, in_use) if self.averaged_in_use else (in_use, self.others)
        checkpoint[RAW_WEIGHTS] = dict(raw)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averaged}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore raw weights and averages if training resumes; otherwise the averages are loaded as weights."""
        if trainer.state.fn != "fit" or RAW_WEIGHTS not in checkpoint:
            return
        weights = _trained(pl_module)
        with torch.no_grad():
            for name, raw in checkpoint[RAW_WEIGHTS].items():
                self.others[name] = weights[name].detach().clone()
                weights[name].copy_(raw)
        self.averaged_in_use = False

    def _swap(self, pl_module: LightningModule) -> None:
        with torch.no_grad():
            for name, value in _trained(pl_module).items():
                kept = value.detach().clone()
                value.copy_(self.others[name])
                self.others[name] = kept
        self.averaged_in_use = not self.averaged_in_use


def _trained(module: LightningModule) -> dict[str, Tensor]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}
