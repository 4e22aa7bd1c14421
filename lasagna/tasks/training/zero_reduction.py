"""The order in which DeepSpeed reduces gradients, which must be the same in all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class OrderedReduction:
    """Reduces gradients in the same order in all processes, as soon as they are there.

    DeepSpeed reduces them in the order in which a process computes them, and leaves out parameters that a batch does
    not use. Both depend on the batch, for example on its number of masks, and processes would add up the gradients of
    different parameters.

    Args:
        zero: DeepSpeed's optimiser.
    """

    def __init__(self, zero: Any) -> None:  # noqa: ANN401
        for hook in zero._grad_acc_hooks:
            hook.remove()
        zero._grad_acc_hooks.clear()
        self._zero = zero
        ordered = [(parameter, number) for number, group in enumerate(zero.bit16_groups) for parameter in group]
        # about the order of a backward pass
        self._ordered = ordered[::-1]
        self._ready = set[int]()
        self._next = 0
        self._hooks = [parameter.register_post_accumulate_grad_hook(self._computed) for parameter, _ in ordered]

    def _computed(self, parameter: Tensor) -> None:
        self._ready.add(id(parameter))
        while self._next < len(self._ordered) and id(self._ordered[self._next][0]) in self._ready:
            self._reduce()

    def _reduce(self) -> None:
        parameter, number = self._ordered[self._next]
        self._zero.process_gradients(parameter, number)
        self._next += 1

    def finish(self) -> None:
        """Reduce the gradients that are left after a backward pass, with zeros for parameters without one."""
        while self._next < len(self._ordered):
            parameter, _ = self._ordered[self._next]
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self._reduce()
        self._zero.overlapping_partition_gradients_reduce_epilogue()
        self._ready.clear()
        self._next = 0

    def remove(self) -> None:
        """Stop watching the gradients."""
        for hook in self._hooks:
            hook.remove()
