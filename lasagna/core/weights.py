"""Whether networks are built with their weights, or only to see their shapes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

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
