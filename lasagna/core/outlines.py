"""Polygons around masks, which COCO's tools or Pillow rasterise to the same pixels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

from lasagna.core.masks import BoolMask


def polygons_of(mask: BoolMask) -> list[list[float]]:
    """Return polygons around a mask, one for each connected part.

    The outline runs halfway between the centres of pixels inside and outside. A hole is joined to its outer outline by
    an edge that is walked in both directions, since COCO's polygons have no holes.

    Args:
        mask: Bool ``[H, W]``.

    Returns:
        Polygons ``[x0, y0, x1, y1, ...]`` in pixels, where the centre of the first pixel is (0.5, 0.5); none if the
        mask is empty.
    """
    return [[float(place) for place in polygon.ravel()] for polygon in _joined(mask, 0.5)]


def border_polygons(mask: BoolMask) -> list[list[float]]:
    """Return polygons through the outermost pixels of a mask, one for each connected part.

    Tools that draw a polygon with its border, as Pillow and LabelMe do, get the mask back, but for holes of some pixels
    between parts that touch at a corner.

    Args:
        mask: Bool ``[H, W]``.

    Returns:
        Polygons ``[x0, y0, x1, y1, ...]`` in whole pixels, where the centre of the first pixel is (0, 0); none if the
        mask is empty.
    """
    # an outline between the halfway line and the centres, which rounding moves to the centres inside
    return [[float(place) for place in np.rint(polygon - 0.5).ravel()] for polygon in _joined(mask, 0.75)]


def rings_of(mask: BoolMask, level: float = 0.5) -> Iterator[list[NDArray[np.float64]]]:
    """Yield the closed outlines of each connected part of a mask: its outer one, and then those of its holes.

    Args:
        mask: Bool ``[H, W]``.
        level: Where outlines run between the centres of pixels outside (0) and inside (1).

    Yields:
        Rings of columns and rows, ``[points, 2]``, whose last point is the first.
    """
    if not mask.any():
        return
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = int(rows[0]), int(columns[0])
    # a frame of pixels outside, so that outlines at the border of the image are closed too
    part = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    inside = np.zeros((part.shape[0] + 2, part.shape[1] + 2))  # contourpy would copy other kinds of numbers
    inside[1:-1, 1:-1] = part
    found = contour_generator(z=inside, fill_type=FillType.OuterOffset).filled(level, 2.0)
    shift = np.array([left - 0.5, top - 0.5])
    for points, offsets in zip(*found, strict=True):
        yield [_corners(points[first:end]) + shift for first, end in pairwise(offsets)]


def _joined(mask: BoolMask, level: float) -> Iterator[NDArray[np.float64]]:
    """Yield the outline of each part, to which holes are joined, ``[points, 2]``."""
    for outer, *holes in rings_of(mask, level):
        yield np.concatenate([outer, *(part for hole in holes for part in (hole, outer[:1]))])


def _corners(ring: NDArray[np.float64]) -> NDArray[np.float64]:
    """Drop the points of a closed ring where it goes straight on; the first point and its repetition stay."""
    steps = np.diff(ring, axis=0)
    turns = steps[:-1, 0] * steps[1:, 1] != steps[:-1, 1] * steps[1:, 0]
    return np.asarray(ring[np.concatenate([[True], turns, [True]])])
