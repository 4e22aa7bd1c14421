"""Training with parts that ``torch.compile`` has compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from lasagna.errors import ConfigError

_PARTS = ("vision_encoder", "language_model", "mask_head", "prompt_projection")


class CompiledParts(Callback):
    """Trains with compiled parts of the assistant, and evaluates with the parts as they are.

    Answers are decoded token by token, in shapes that change all the time, and compiling for these would take longer
    than they do. Names of weights and checkpoints stay the same.

    Args:
        backend: A backend of ``torch.compile``, such as "inductor".

    Raises:
        ConfigError: If there is no such backend.
    """

    def __init__(self, backend: str) -> None:
        known = torch.compiler.list_backends(exclude_tags=())
        if backend not in known:
            raise ConfigError(f"model.compile: there is no backend {backend!r}; choose one of {', '.join(known)}")
        self.backend = backend
        self._forwards: dict[nn.Module, Callable[..., Any]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with compiled parts."""
        self._attach(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate with the parts as they are."""
        self._detach()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train on with compiled parts."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._attach(pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the parts as they were, also after an error."""
        self._detach()

    def _attach(self, pl_module: LightningModule) -> None:
        if not self._forwards:
            parts = [getattr(pl_module.assistant, name) for name in _PARTS]
            self._forwards = {part: torch.compile(part.forward, backend=self.backend) for part in parts}
        for part, forward in self._forwards.items():
            part.forward = forward

    def _detach(self) -> None:
        for part in self._forwards:
            vars(part).pop("forward", None)
