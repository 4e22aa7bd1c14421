"""Optimisers that keep float32 copies of weights that are held in less precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_COPY = "float32"
"""Key in the optimiser's state of a weight: its float32 copy."""


def with_copies(kind: type[Optimizer]) -> type[Optimizer]:
    """Return a class of optimiser that adds its steps to float32 copies.

    Args:
        kind: The class that takes the steps.
    """
    return type(f"Float32{kind.__name__}", (Float32Copies, kind), {})


class Float32Copies(Optimizer):
    """Adds the steps of another optimiser to float32 copies of weights that are held in less precision.

    In bfloat16 a step of less than 0.2 to 0.4 % of a weight is rounded away. So a weight in bfloat16 or float16 has a
    copy that the steps are added to, and is its rounded value; copies and moving averages are part of the optimiser's
    state. Weights in float32 or wider have no copy, and are trained as without this class.
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
