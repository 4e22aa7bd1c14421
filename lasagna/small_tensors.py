"""Tensors on their way between processes.

Torch hands each tensor over in shared memory of its own, which takes a connection between the processes for every one.
For a small tensor that is many times what copying it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST = 1 << 18
"""Up to how many bytes a tensor travels with what holds it."""

_KINDS = (torch.bool, torch.uint8, torch.int64, torch.float32)


@dataclass(frozen=True)
class _Copied:
    values: NDArray[Any]


class SmallTensors:
    """Something whose attributes travel between processes as copies where they are small tensors."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, small tensors as arrays."""
        return {name: _Copied(value.numpy()) if _is_small(value) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes over."""
        for name, value in state.items():
            self.__dict__[name] = torch.from_numpy(value.values) if isinstance(value, _Copied) else value


def _is_small(value: object) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.requires_grad:
        return False
    return value.dtype in _KINDS and value.nbytes <= LARGEST
