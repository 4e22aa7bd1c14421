"""The state of an optimiser whose parameters are parts of flat vectors, in the form of an undivided one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.optim import Optimizer

SHARED = ("step", "mu_product")
"""Keys of a parameter's state, in the algorithms of torch, that have one value for all of its numbers."""

CHUNK = 2**24
"""Numbers that each process gives to the others at once, so that no device holds a whole state."""


@dataclass(frozen=True)
class Slices:
    """Where the parameters of a group lie in its flat vector.

    Args:
        size: Length of the vector, a multiple of the number of processes.
        offsets: Where each parameter begins.
        shapes: The shape of each parameter.
    """

    size: int
    offsets: tuple[int, ...]
    shapes: tuple[torch.Size, ...]

    @classmethod
    def of(cls, parameters: Sequence[Tensor], flat: Tensor) -> Slices:
        """Return where parameters lie in a vector.

        Args:
            parameters: Views of the vector.
            flat: The vector.
        """
        # an empty parameter lies nowhere
        offsets = tuple(
            int(parameter.storage_offset() - flat.storage_offset()) if parameter.numel() else 0
            for parameter in parameters
        )
        return cls(flat.numel(), offsets, tuple(parameter.shape for parameter in parameters))

    def cut(self, flat: Tensor, index: int) -> Tensor:
        """Return a copy of what lies in the place of a parameter.

        Args:
            flat: A vector of the same layout.
            index: Number of the parameter in its group.
        """
        shape = self.shapes[index]
        return flat[self.offsets[index] : self.offsets[index] + shape.numel()].view(shape).clone()

    def joined(self, values: Sequence[Tensor | None]) -> Tensor:
        """Return the vector of values for each parameter, with zeros for None and between them.

        Args:
            values: One tensor, of the shape of its parameter, or None for each parameter.
        """
        flat = torch.zeros(self.size)
        for offset, value in zip(self.offsets, values, strict=True):
            if value is not None:
                flat[offset : offset + value.numel()] = value.reshape(-1).to(flat)
        return flat


def whole_state(
    optimizer: Optimizer, slices: Sequence[Slices], device: torch.device, keep: bool = True
) -> dict[str, Any]:
    """Return the state of an optimiser as an undivided one would have it; all processes must call this together.

    Args:
        optimizer: The optimiser, each group of which has one parameter: this process's part of a vector.
        slices: The layout of each group's vector.
        device: Where the processes exchange their parts.
        keep: Whether this process wants the state, of which one on each machine would fill the memory.

    Returns:
        State by number of the parameter, on the CPU, and groups of numbers; no state unless it is kept.
    """
    state: dict[int, dict[str, Any]] = {}
    groups: list[dict[str, Any]] = []
    first = 0
    for group, layout in zip(optimizer.param_groups, slices, strict=True):
        (part,) = group["params"]
        numbers = list(range(first, first + len(layout.shapes)))
        for key, value in optimizer.state.get(part, {}).items():
            flat = _gathered(value, device, keep) if _is_divided(key, value) else None
            for index, number in enumerate(numbers if keep else ()):
                found = value if flat is None else layout.cut(flat, index)
                state.setdefault(number, {})[key] = found.clone().cpu() if isinstance(found, Tensor) else found
        groups.append({**group, "params": numbers})
        first += len(numbers)
    return {"state": state, "param_groups": groups}


def divided_state(
    optimizer: Optimizer, whole: dict[str, Any], slices: Sequence[Slices], rank: int, processes: int
) -> dict[str, Any]:
    """Return a process's part of an undivided state, for ``load_state_dict`` of its optimiser.

    Args:
        optimizer: The optimiser, each group of which has one parameter.
        whole: The state of an undivided optimiser.
        slices: The layout of each group's vector.
        rank: Number of the process.
        processes: Number of processes.
    """
    state: dict[int, dict[str, Any]] = {}
    groups: list[dict[str, Any]] = []
    for number, (group, layout) in enumerate(zip(whole["param_groups"], slices, strict=True)):
        states = [whole["state"].get(one, {}) for one in group["params"]]
        each = layout.size // processes
        for key, value in next((found for found in states if found), {}).items():
            found = value.clone() if isinstance(value, Tensor) else value
            if _is_divided(key, value):
                found = layout.joined([one.get(key) for one in states])[rank * each : (rank + 1) * each].clone()
            state.setdefault(number, {})[key] = found
        groups.append({**group, "params": [number]})
    return {"state": state, "param_groups": groups}


def _is_divided(key: str, value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, Tensor) and key not in SHARED


def _gathered(part: Tensor, device: torch.device, keep: bool) -> Tensor:
    """Return the parts of all processes one after another on the CPU, or nothing unless it is kept."""
    processes, each = distributed.get_world_size(), len(part)
    whole = part.new_empty((processes, each if keep else 0), device="cpu")
    for start in range(0, each, CHUNK):
        own = part[start : start + CHUNK].to(device).contiguous()
        chunks = [torch.empty_like(own) for _ in range(processes)]
        distributed.all_gather(chunks, own)
        if keep:
            for row, chunk in zip(whole, chunks, strict=True):
                row[start : start + CHUNK] = chunk
    return whole.view(-1)
