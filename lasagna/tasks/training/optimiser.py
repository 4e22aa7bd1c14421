"""The optimiser over sets of parameters, with warm-up and decay of the learning rate."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau, SequentialLR

from lasagna.core.config import plain
from lasagna.errors import CheckpointError, ConfigError
from lasagna.tasks.training.float32_copies import with_copies
from lasagna.tasks.training.mixed_optimizer import MixedOptimizer, OtherOptimiser
from lasagna.tasks.training.torch_classes import check_options, find_class

WAY_OUT = (
    "a resumed training keeps the settings that it began with; restore them, or start a new training from the "
    "checkpoint's weights: model.warm_start instead of ckpt_path"
)
"""The way out in errors about settings that differ from those of the checkpoint."""

_SCHEDULES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class Optimiser:
    """Settings of the optimiser and of the learning-rate schedule.

    Args:
        lr: Learning rate after warm-up, multiplied by the factor of each parameter set.
        betas: Decay of the moving averages of gradient and squared gradient; only for an algorithm that takes it.
        weight_decay: Weight decay, as the algorithm understands it (decoupled for AdamW); it does not apply to vectors
            (biases, norms, single tokens), nor to an algorithm that does not take it.
        warmup_steps: Steps over which the learning rate rises linearly from 0.
        warmup_from_zero: Whether the first step has the learning rate 0, as in the original, rather than the first
            value above it.
        schedule: How the learning rate falls to ``final`` at the last step: along half a cosine ("cosine") or a line
            ("linear"), or not at all ("constant"); or a schedule of ``torch.optim.lr_scheduler`` by name, or of another
            module by path, which begins after warm-up.
        final: Fraction of the learning rate that is left at the last step of a cosine or a line.
        algorithm: An optimiser of ``torch.optim`` by name, e.g. "SGD", or of another module by path, e.g.
            "bitsandbytes.optim.AdamW8bit".
        algorithm_options: Further arguments of the algorithm, e.g. ``{"momentum": 0.9}``; they go before ``betas`` and
            ``weight_decay``.
        schedule_options: Arguments of a schedule that is a class, e.g. ``{"T_0": 100}``.
        others: A second optimiser for the trained parameters that are not matrices, where the algorithm takes only
            matrices, as Muon does, and for those that it names; None to train all by the first.

    Raises:
        ConfigError: If a number is out of range, there is no such schedule or algorithm, or it does not take its
            options. A class of another module is looked for when training begins.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 50
    warmup_from_zero: bool = False
    schedule: str = "cosine"
    final: float = 0.0
    algorithm: str = "AdamW"
    algorithm_options: dict[str, Any] | None = None
    schedule_options: dict[str, Any] | None = None
    others: OtherOptimiser | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        allowed = {
            "lr": (0 <= self.lr < math.inf, "a finite number of at least 0"),
            "betas": (all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "a finite number of at least 0"),
            "warmup_steps": (self.warmup_steps >= 0, "at least 0"),
            "final": (0 <= self.final <= 1, "a fraction of the learning rate, in [0, 1]"),
        }
        faults = [
            f"optimiser.{name}: expected {words}, got {getattr(self, name)!r}"
            for name, (fits, words) in allowed.items()
            if not fits
        ]
        if faults:
            raise ConfigError("; ".join(faults))
        if self.schedule in _SCHEDULES and self.schedule_options:
            raise ConfigError(
                f"optimiser.schedule_options: {self.schedule!r} takes none, got {self.schedule_options}; a "
                "schedule that is a class takes options"
            )
        if "." not in self.algorithm:
            self._check_algorithm()
        if "." not in self.schedule:
            self._check_schedule()

    def check_classes(self) -> None:
        """Find algorithm and schedule, also in modules that are not torch's, and check that they take their options.

        Raises:
            ConfigError: If one of them is not there, is of another kind, or does not take an option.
        """
        self._check_algorithm()
        self._check_schedule()

    @cached_property
    def _algorithm(self) -> type[Optimizer]:
        return _algorithm("algorithm", self.algorithm)

    @cached_property
    def _schedule(self) -> type[LRScheduler] | None:
        if self.schedule in _SCHEDULES:
            return None
        kind = find_class("schedule", self.schedule, "torch.optim.lr_scheduler", LRScheduler, _SCHEDULES)
        if issubclass(kind, ReduceLROnPlateau):
            raise ConfigError(
                f"optimiser.schedule: {self.schedule!r} waits for a score, and the rate is set at each step; choose "
                "'cosine', 'linear', 'constant' or a schedule that counts steps"
            )
        return kind

    def _check_algorithm(self) -> None:
        _check_rate("", self.algorithm_options)
        check_options("algorithm_options", self._algorithm, self.algorithm_options or {})
        if self.others is not None:
            _check_rate("others.", self.others.algorithm_options)
            kind = _algorithm("others.algorithm", self.others.algorithm)
            check_options("others.algorithm_options", kind, self.others.algorithm_options or {})

    def _check_schedule(self) -> None:
        if self._schedule is not None:
            check_options("schedule_options", self._schedule, self.schedule_options or {}, required=True)

    def build(self, sets: Mapping[str, float], parameters: Iterable[tuple[str, nn.Parameter]]) -> Optimizer:
        """Return the optimiser over the trained parameters.

        Args:
            sets: Name to factor of the learning rate, for each trained parameter.
            parameters: All parameters with their names.

        Raises:
            ConfigError: If an algorithm refuses its options or the parameters, or there is nothing for one of both.
        """
        trained = {name: parameter for name, parameter in parameters if name in sets}
        if self.others is None:
            return self._made(with_copies(self._algorithm), sets, trained)
        others = self.others.chosen(trained)
        rest = replace(
            self,
            algorithm=self.others.algorithm,
            algorithm_options=self.others.algorithm_options,
            lr=self.lr if self.others.lr is None else self.others.lr,
            others=None,
        )
        first = {name: parameter for name, parameter in trained.items() if name not in others}
        kind: Any = with_copies(MixedOptimizer)
        parts = (
            self._made(self._algorithm, sets, first),
            rest._made(rest._algorithm, sets, others, "others.algorithm"),
        )
        mixed: Optimizer = kind(parts)
        return mixed

    def _made(
        self,
        kind: type[Optimizer],
        sets: Mapping[str, float],
        parameters: Mapping[str, nn.Parameter],
        argument: str = "algorithm",
    ) -> Optimizer:
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in parameters.items():
            groups.setdefault((sets[name], parameter.ndim > 1), []).append(parameter)
        taken = inspect.signature(self._algorithm).parameters
        decay = (self.algorithm_options or {}).get("weight_decay", self.weight_decay)
        options = [
            {"params": members, "lr": self.lr * factor}
            | ({"weight_decay": decay if decays else 0.0} if "weight_decay" in taken else {})
            for (factor, decays), members in groups.items()
        ]
        shared: dict[str, Any] = {"lr": self.lr} | ({"betas": self.betas} if "betas" in taken else {})
        try:
            made: Any = kind
            built: Optimizer = made(options, **shared | (self.algorithm_options or {}))
        except (TypeError, ValueError, RuntimeError) as error:
            # torch says "only supports 2D parameters", and has no error class of its own for it
            way_out = (
                "; train the others by a second one, optimiser.others: {algorithm: AdamW}" if "2D" in str(error) else ""
            )
            raise ConfigError(
                f"optimiser.{argument}: {self.algorithm!r} refuses its options or the trained parameters: "
                f"{error}{way_out}"
            ) from error
        return built

    def scheduler(self, optimizer: Optimizer, total_steps: Callable[[], float]) -> LRScheduler:
        """Return the schedule of the learning rate.

        Args:
            optimizer: The optimiser that ``build`` returned.
            total_steps: Returns the number of optimiser steps of the run; called only after warm-up, since the number
                is known only after the data has been set up.

        Raises:
            ConfigError: If the schedule refuses its options, or gives all sets of parameters one rate.
        """
        if self._schedule is None:
            factor = schedule(self.schedule, self.warmup_steps, total_steps, self.final, self.warmup_from_zero)
            return LambdaLR(optimizer, factor)
        rates = [group["lr"] for group in optimizer.param_groups]
        warmup = schedule("constant", self.warmup_steps, total_steps, self.final, self.warmup_from_zero)
        try:
            kind: Any = self._schedule
            parts = [LambdaLR(optimizer, warmup), kind(optimizer, **self.schedule_options or {})]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"optimiser.schedule: {self.schedule!r} refuses its options: {error}") from error
        if getattr(parts[1], "base_lrs", rates) != rates:
            raise ConfigError(
                f"optimiser.schedule: {self.schedule!r} sets the rates itself, so that neither `optimiser.lr` nor the "
                "factors of `trainable` would count; choose one that changes the rates that there are, e.g. 'cosine'"
            )
        return SequentialLR(optimizer, parts, [self.warmup_steps])

    def check(self, total_steps: float) -> None:
        """Check that the schedule fits the run.

        Args:
            total_steps: Number of optimiser steps of the run; infinity if it has no end.

        Raises:
            ConfigError: If the learning rate falls until the last step, and there is none.
        """
        if self.schedule in ("cosine", "linear") and not math.isfinite(total_steps):
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
        # a checkpoint of an earlier version lacks what was added since, and was trained with its default
        begun = Optimiser().settings() | dict(stored)
        changed = [
            f"optimiser.{name} {begun[name]!r}, here {value!r}"
            for name, value in self.settings().items()
            if begun[name] != value
        ]
        if changed:
            raise CheckpointError(f"the checkpoint was trained with {'; '.join(changed)}; {WAY_OUT}")


def _check_rate(place: str, options: Mapping[str, Any] | None) -> None:
    if "lr" in (options or {}):
        raise ConfigError(
            f"optimiser.{place}algorithm_options: the learning rate is `optimiser.{place}lr`, to which the factors of "
            "`trainable` apply; set that, and leave `lr` out of the options"
        )


def _algorithm(argument: str, path: str) -> type[Optimizer]:
    kind = find_class(argument, path, "torch.optim", Optimizer)
    if inspect.signature(kind.step).parameters["closure"].default is inspect.Parameter.empty:
        raise ConfigError(
            f"optimiser.{argument}: {path!r} computes the loss several times a step, which training does not; choose "
            "another, e.g. 'AdamW'"
        )
    return kind


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
