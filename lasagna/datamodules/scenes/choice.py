"""Picking from a list with a generator that is passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    import numpy as np

T = TypeVar("T")


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """Return one item, each equally likely.

    Args:
        rng: Source of the choice.
        items: At least one item.
    """
    return items[int(rng.integers(len(items)))]


def pick_fresh(rng: np.random.Generator, items: Sequence[T], taken: Container[T]) -> T:
    """Return one item that was not taken yet, or any if all were.

    Args:
        rng: Source of the choice.
        items: At least one item.
        taken: What was picked before.
    """
    return pick(rng, [item for item in items if item not in taken] or items)
