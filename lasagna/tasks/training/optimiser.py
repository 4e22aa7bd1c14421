"""AdamW over sets of parameters, with warm-up and decay of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lasagna.core.config import plain
from lasagna.errors import CheckpointError, ConfigError

WAY_OUT = (
    "a resumed training keeps the settings that it began with; restore them, or start a new training from the "
    "checkpoint's weights: model.warm_start instead of ckpt_path"
)
"""The way out in errors about settings that differ from those of the checkpoint."""

_COPY = "float32"
"""Key in the optimiser's state of a weight: its float32 copy."""

_SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class Optimiser:
    """Settings of AdamW and of the learning-rate schedule.

    Args:
        lr: Learning rate after warm-up, multiplied by the factor of each parameter set.
        betas: Decay of the moving averages of gradient and squared gradient.
        weight_decay: Decoupled weight decay; it does not apply to vectors (biases, norms, single tokens).
        warmup_steps: Steps over which the learning rate rises linearly from 0.
        warmup_from_zero: Whether the first step has the learning rate 0, as in the original, rather than the first
            value above it.
        schedule: How the learning rate falls to ``final`` at the last step: along half a cosine or a line, or not at
            all ("constant").
        final: Fraction of the learning rate that is left at the last step.

    Raises:
        ConfigError: If a number is out of range, or there is no such schedule.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 50
    warmup_from_zero: bool = False
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    final: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        allowed = {
            "lr": (0 <= self.lr < math.inf, "a finite number of at least 0"),
            "betas": (all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "a finite number of at least 0"),
            "warmup_steps": (self.warmup_steps >= 0, "at least 0"),
            "schedule": (self.schedule in _SCHEDULES, f"one of {', '.join(_SCHEDULES)}"),
            "final": (0 <= self.final <= 1, "a fraction of the learning rate, in [0, 1]"),
        }
        faults = [
            f"optimiser.{name}: expected {words}, got {getattr(self, name)!r}"
            for name, (fits, words) in allowed.items()
            if not fits
        ]
        if faults:
            raise ConfigError("; ".join(faults))

    def build(self, sets: Mapping[str, float], parameters: Iterable[tuple[str, nn.Parameter]]) -> AdamW:
        """Return AdamW over the trained parameters.

        Args:
            sets: Name to factor of the learning rate, for each trained parameter.
            parameters: All parameters with their names.
        """
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in parameters:
            if name in sets:
                groups.setdefault((sets[name], parameter.ndim > 1), []).append(parameter)
        options = [
            {"params": members, "lr": self.lr * factor, "weight_decay": self.weight_decay if decays else 0.0}
            for (factor, decays), members in groups.items()
        ]
        return Float32AdamW(options, lr=self.lr, betas=self.betas)

    def scheduler(self, optimizer: AdamW, total_steps: Callable[[], float]) -> LambdaLR:
        """Return the schedule of the learning rate.

        Args:
            optimizer: The optimiser that ``build`` returned.
            total_steps: Returns the number of optimiser steps of the run; called only after warm-up, since the number
                is known only after the data has been set up.
        """
        factor = schedule(self.schedule, self.warmup_steps, total_steps, self.final, self.warmup_from_zero)
        return LambdaLR(optimizer, factor)

    def check(self, total_steps: float) -> None:
        """Check that the schedule fits the run.

        Args:
            total_steps: Number of optimiser steps of the run; infinity if it has no end.

        Raises:
            ConfigError: If the learning rate falls until the last step, and there is none.
        """
        if self.schedule != "constant" and not math.isfinite(total_steps):
            raise ConfigError(
                f"optimiser.schedule: {self.schedule!r} falls until the last step, but the run has none; set "
                "trainer.max_steps or trainer.max_epochs, or optimiser.schedule to 'constant'"
            )

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return {field.name: plain(getattr(self, field.name)) for field in fields(self)}

    def check_resumed(self, stored: Mapping[str, Any]) -> None:
        """Check that a resumed training has the settings it began with; Lightning would restore the old rates silently.

        Args:
            stored: The ``settings`` that the training began with.

        Raises:
            CheckpointError: If settings differ; names all of them.
        """
        changed = [
            f"optimiser.{name} {stored[name]!r}, here {value!r}"
            for name, value in self.settings().items()
            if name in stored and stored[name] != value
        ]
        if changed:
            raise CheckpointError(f"the checkpoint was trained with {'; '.join(changed)}; {WAY_OUT}")


class Float32AdamW(AdamW):
    """AdamW that adds its steps to float32 copies of weights that are held in less precision.

    In bfloat16 a step of less than 0.2 to 0.4 % of a weight is rounded away. So a weight in bfloat16 or float16 has a
    copy that the steps are added to, and is its rounded value; copies and moving averages are part of the optimiser's
    state. Weights in float32 or wider have no copy, and are trained as by AdamW.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401
        """Take a step.

        Args:
            closure: Computes the gradients and returns the loss, or None if there are gradients already.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad(), self._on_copies() as copies:
            for weight, copy in copies.items():
                # somebody else may have written the weight, e.g. a callback that bounds its norm
                torch.where(weight == copy.to(weight.dtype), copy, weight, out=copy)
                copy.grad = None if weight.grad is None else weight.grad.float()
            super().step()
            for weight, copy in copies.items():
                weight.copy_(copy)
                copy.grad = None
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state; torch would round that of weights in less than float32 to their precision."""
        with self._on_copies():
            super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            if not _is_narrow(parameter):
                state.pop(_COPY, None)

    @contextmanager
    def _on_copies(self) -> Iterator[dict[Tensor, Tensor]]:
        """Put the float32 copies in place of their weights; yields weight to copy."""
        weights = [weight for group in self.param_groups for weight in group["params"] if _is_narrow(weight)]
        states = [self.state.pop(weight, {}) for weight in weights]
        copies = [state.pop(_COPY, None) for state in states]
        pairs = {
            weight: weight.detach().float() if copy is None else copy
            for weight, copy in zip(weights, copies, strict=True)
        }
        self.state.update(zip(pairs.values(), states, strict=True))
        self._replace(pairs)
        try:
            yield pairs
        finally:
            self._replace({copy: weight for weight, copy in pairs.items()})
            for weight, copy in pairs.items():
                self.state[weight] = {_COPY: copy, **self.state.pop(copy, {})}

    def _replace(self, parameters: Mapping[Tensor, Tensor]) -> None:
        for group in self.param_groups:
            group["params"] = [parameters.get(parameter, parameter) for parameter in group["params"]]


def float32_weights(optimizers: Iterable[Optimizer], module: nn.Module) -> dict[str, Tensor]:
    """Return the trained weights of a module in the precision in which they are trained, at least float32.

    Args:
        optimizers: What trains them.
        module: The module.

    Returns:
        Name to the optimiser's copy of the weight, or to the weight itself if it has none.
    """
    copies = {
        weight: state[_COPY] for optimizer in optimizers for weight, state in optimizer.state.items() if _COPY in state
    }
    return {
        name: wide(copies.get(value, value).detach())
        for name, value in module.named_parameters()
        if value.requires_grad
    }


def wide(value: Tensor) -> Tensor:
    """Return a tensor in float32, or in its own precision if that is wider."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def _is_narrow(value: Tensor) -> bool:
    return value.is_floating_point() and value.dtype.itemsize < torch.float32.itemsize


def schedule(
    kind: str, warmup_steps: int, total_steps: Callable[[], float], final: float, from_zero: bool = False
) -> Callable[[int], float]:
    """Return the factor of the learning rate as a function of the step, counted from 0.

    Args:
        kind: "cosine", "linear" or "constant".
        warmup_steps: Steps of the warm-up.
        total_steps: Returns the number of optimiser steps of the run.
        final: Factor at the last step.
        from_zero: Whether the first step has the factor 0.
    """
    skipped = 0 if from_zero else 1

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + skipped) / (warmup_steps + skipped)
        if kind == "constant" or step == warmup_steps:
            return 1.0
        progress = min(1.0, (step - warmup_steps) / max(1.0, total_steps() - warmup_steps))
        left = 1.0 - progress if kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * progress))
        return final + (1.0 - final) * left

    return factor
