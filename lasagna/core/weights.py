"""Whether networks are built with their weights, or only to see their shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

_LEFT_OUT: ContextVar[bool] = ContextVar("weights_left_out", default=False)


def reads_weights() -> bool:
    """Say whether files of weights are to be read."""
    return not _LEFT_OUT.get()


@contextmanager
def weights_left_out() -> Iterator[None]:
    """Build networks as if they had no files of weights."""
    token = _LEFT_OUT.set(True)
    try:
        yield
    finally:
        _LEFT_OUT.reset(token)


def blanks(network: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Return zeros in the shapes of a network's weights, by their names; together they take no memory.

    Args:
        network: The network, also on the meta device.
        prefix: Start of the names.
    """
    zero = torch.zeros((), device="cpu")
    return {prefix + name: zero.expand(value.shape) for name, value in network.state_dict().items()}
