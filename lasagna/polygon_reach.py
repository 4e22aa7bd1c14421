"""Polygons that reach beyond their image, where drawing cuts them off."""

from __future__ import annotations

from typing import Any

import numpy as np

ROUNDING = 1.0
"""By how many pixels corners may lie beyond the border, since tools round."""


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
