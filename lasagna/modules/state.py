"""The mode that a part is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(part: nn.Module) -> Iterator[None]:
    """Be in evaluation mode; afterwards each module of the part has its mode again."""
    modes = [(module, module.training) for module in part.modules()]
    part.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
