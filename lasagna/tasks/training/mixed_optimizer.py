"""Two optimisers as one: one for matrices, and another for everything else that is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lasagna.errors import ConfigError


@dataclass(frozen=True)
class OtherOptimiser:
    """Settings of a second optimiser, for what the first one does not train.

    Args:
        algorithm: As ``Optimiser.algorithm``.
        algorithm_options: Further arguments of the algorithm.
        lr: Learning rate after warm-up; None for that of the first optimiser.
        parameters: Glob patterns over parameter names, as in ``trainable``, of matrices that it trains too: tables of
            embeddings and output layers, as Muon's authors advise, e.g. ``["*embed*", "*lm_head*"]``.

    Raises:
        ConfigError: If the learning rate is out of range.
    """

    algorithm: str = "AdamW"
    algorithm_options: dict[str, Any] | None = None
    lr: float | None = None
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the learning rate."""
        if self.lr is not None and not 0 <= self.lr < math.inf:
            raise ConfigError(f"optimiser.others.lr: expected a finite number of at least 0, got {self.lr}")

    def chosen(self, trained: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
        """Return what it trains: all that is no matrix, and the matrices that it names.

        Args:
            trained: All trained parameters by name.

        Raises:
            ConfigError: If a pattern fits none, or none or all of the parameters are chosen.
        """
        parts = ", ".join(sorted({".".join(name.split(".")[:2]) for name in trained})[:12])
        for pattern in self.parameters:
            if not any(matches(pattern, name) for name in trained):
                raise ConfigError(
                    f"optimiser.others.parameters: {pattern!r} fits no trained parameter; there are those of {parts}"
                )
        found = {
            name: parameter
            for name, parameter in trained.items()
            if parameter.ndim != 2 or any(matches(pattern, name) for pattern in self.parameters)
        }
        if not found or len(found) == len(trained):
            raise ConfigError(
                f"optimiser.others: it would train {len(found)} of {len(trained)} parameters, those of {parts}; leave "
                "`others` out, or train other parameters (model.trainable)"
            )
        return found


def matches(pattern: str, name: str) -> bool:
    """Return whether a glob pattern fits the name of a parameter, or of a part that holds it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


class MixedOptimizer(Optimizer):
    """Takes the steps of several optimisers over different parameters, whose groups and state it holds together.

    Args:
        parts: The optimisers.
    """

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self._parts = [(part, len(part.param_groups)) for part in parts]
        super().__init__([group for part in parts for group in part.param_groups], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # noqa: ANN401
        """Take a step of each.

        Args:
            closure: Computes the gradients and returns the loss, or None if there are gradients already.

        Returns:
            What the closure returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        first = 0
        for part, count in self._parts:
            # a checkpoint that is read replaces groups and state
            part.param_groups, part.state = self.param_groups[first : first + count], self.state
            part.step()
            first += count
        return loss
