"""Polygons drawn to the pixel as OpenCV draws them, for data sets whose masks are made that way.

Source: ``modules/imgproc/src/drawing.cpp`` of ``opencv/opencv`` (``fillPoly`` and ``polylines``, eight neighbours, no
smoothing): the outline by Bresenham, and within it every row between the edges, rounded to the nearest pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lasagna.errors import RecordError
from lasagna.masks import BoolMask

_FARTHEST = 16
_ONE = 1 << 16
_HALF = _ONE >> 1

Points = NDArray[np.int64]


def fill_polygon(points: Sequence[Sequence[float]], size: tuple[int, int]) -> BoolMask:
    """Draw a polygon with its outline.

    Within the image the pixels are those of OpenCV 4.8. Edges that leave the image are cut off at its border, which may
    shift them by a pixel against OpenCV, since that cuts them first and draws them then.

    Args:
        points: Its corners, x and y each; fractions are cut off.
        size: Height and width of the image.

    Returns:
        The pixels, bool ``[H, W]``.

    Raises:
        RecordError: If the points are no pairs of numbers, or one is far away from the image.
    """
    corners = _corners(points, size)
    canvas = np.zeros(size, dtype=bool)
    starts = np.roll(corners, 1, axis=0)
    _fill(canvas, starts, corners)
    for start, end in zip(starts, corners, strict=True):
        columns, rows = _line(start, end)
        inside = (columns >= 0) & (columns < size[1]) & (rows >= 0) & (rows < size[0])
        canvas[rows[inside], columns[inside]] = True
    return canvas


def _corners(points: Sequence[Sequence[float]], size: tuple[int, int]) -> Points:
    try:
        corners = np.array([(x, y) for x, y in points], dtype=np.float64)
    except (TypeError, ValueError) as fault:
        raise RecordError(f"polygon: its points are pairs of x and y, got {str(points)[:80]} ({fault})") from fault
    if not (np.abs(corners) <= _FARTHEST * max(size)).all():
        raise RecordError(f"polygon: a point is far outside of the image, which is of size {tuple(size)}")
    return np.trunc(corners).astype(np.int64)


def _fill(canvas: BoolMask, starts: Points, ends: Points) -> None:
    """Fill between the first and second, third and fourth ... crossing of each row."""
    sloped = starts[:, 1] != ends[:, 1]
    upper, lower = _sorted_ends(starts[sloped], ends[sloped])
    # in fixed point; C rounds quotients towards zero
    run, rise = (lower[:, 0] - upper[:, 0]) * _ONE, lower[:, 1] - upper[:, 1]
    slopes = np.sign(run) * (np.abs(run) // rise)
    for row in range(len(canvas)):
        crossed = (upper[:, 1] <= row) & (row < lower[:, 1])
        crossings = upper[crossed, 0] * _ONE + slopes[crossed] * (row - upper[crossed, 1])
        columns = (np.sort(crossings) + _HALF) >> 16
        for left, right in columns.reshape(-1, 2):
            canvas[row, max(left, 0) : max(right + 1, 0)] = True


def _sorted_ends(starts: Points, ends: Points) -> tuple[Points, Points]:
    turned = (starts[:, 1] > ends[:, 1])[:, None]
    return np.where(turned, ends, starts), np.where(turned, starts, ends)


def _line(start: Points, end: Points) -> tuple[Points, Points]:
    """Return the columns and rows of a line of eight neighbours, drawn from left to right."""
    if end[0] < start[0]:
        start, end = end, start
    width, height = end[0] - start[0], abs(end[1] - start[1])
    step = 1 if end[1] >= start[1] else -1
    longer, shorter = max(width, height), min(width, height)
    along = np.arange(longer + 1)
    across = -((longer - 2 * shorter * along) // (2 * longer)) if longer else along
    columns, rows = (along, across) if width >= height else (across, along)
    return start[0] + columns, start[1] + step * rows
