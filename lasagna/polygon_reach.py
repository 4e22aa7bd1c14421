"""Polygons that reach beyond their image, where drawing cuts them off, or so far that they cannot be drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

ROUNDING = 1.0
"""By how many pixels corners may lie beyond the border, since tools round."""


FARTHEST = float(1 << 26)
"""Largest coordinate that pycocotools can count with, which takes five times each as an int of 32 bits."""

LONGEST = float(1 << 22)
"""How many pixels the outline of a polygon may be long: pycocotools keeps every step of it, about 40 bytes a pixel."""


def too_long(polygon: Any) -> bool:  # noqa: ANN401
    """Say whether a polygon reaches so far that drawing it would take all memory, or cannot be counted.

    Args:
        polygon: ``[x0, y0, x1, y1, ...]`` in pixels; what is none is not too long.
    """
    try:
        numbers = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        return False  # whoever reads it says so
    points = numbers[: len(numbers) // 2 * 2].reshape(-1, 2)
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1, initial=0)
    return bool((np.abs(points) > FARTHEST).any() or steps.sum() > LONGEST)


def reaches_beyond(code: Any, size: tuple[int, int]) -> bool:  # noqa: ANN401
    """Say whether a mask's coding has a polygon with a corner outside of the image; other codings cannot.

    Args:
        code: Any of COCO's codings.
        size: Height and width of the image.
    """
    polygons = code if isinstance(code, list) else []
    return any(_beyond(polygon, size) for polygon in polygons if isinstance(polygon, list) and polygon)


def _beyond(polygon: list[Any], size: tuple[int, int]) -> bool:
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        return False  # whoever reads it says so
    farthest = np.resize(np.asarray(size[::-1], dtype=np.float64), points.shape) + ROUNDING
    return bool((points < -ROUNDING).any() or (points > farthest).any())
