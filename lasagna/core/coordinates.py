"""Coordinates of polygons: pixels, or fractions of an image by mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SLACK = 0.05
"""How far fractions of an image may lie beyond it, since annotation tools round."""


def are_fractions(numbers: Sequence[Any], size: tuple[int, int]) -> bool:
    """Return whether coordinates are fractions of an image, which would be a mask of a single pixel.

    Args:
        numbers: The coordinates of the corners.
        size: Height and width of the image.
    """
    return (
        min(size) > 1
        and all(type(number) in (int, float) and -SLACK <= number <= 1 + SLACK for number in numbers)
        and any(0 < number < 1 for number in numbers)
    )
