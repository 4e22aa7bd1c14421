"""Draw polygons to the pixel as OpenCV draws them, for data sets whose masks are defined by OpenCV's drawing.

OpenCV is not a dependency for two reasons. From 4.11 on, ``fillPoly`` leaves out pixels beyond the outline that earlier
versions fill, and the code of ReasonSeg pins 4.8; so an extra would have to require ``opencv-python-headless<4.11``,
which keeps back every environment that uses OpenCV for something else. And the same conversion would give other masks
with another version, silently. This file gives the same pixels everywhere; tests compare it with OpenCV 4.10.

Source: ``modules/imgproc/src/drawing.cpp`` of ``opencv/opencv`` (``fillPoly`` and ``polylines``, eight neighbours, no
anti-aliasing). The outline is drawn by Bresenham's algorithm, and each row is filled between the edges. The crossing of
an edge and a row is rounded to the nearest pixel; edges that leave the image are first clipped at its border, and their
crossings are rounded down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lasagna.core.masks import BoolMask
from lasagna.errors import RecordError

Point = tuple[int, int]
"""Column and row."""

Ends = tuple[Point, Point]


_FARTHEST = 16
"""How many times the longer side of the image a corner may be away from its origin."""

_SHIFT = 16
"""Bits of the fraction in fixed point."""

_ONE = 1 << _SHIFT
_HALF = _ONE >> 1

Points = NDArray[np.int64]


@dataclass(frozen=True)
class Line:
    """The part of a line that is drawn.

    Args:
        start: Its start.
        end: Its end.
        touches: Whether it lies within the image; if not, its ends may have been moved nevertheless.
        is_cut: Whether one of its original ends lies outside of the image.
    """

    start: Point
    end: Point
    touches: bool
    is_cut: bool


def clip_line(ends: Ends, size: tuple[int, int]) -> Line:
    """Clip a line at the border of an image.

    Args:
        ends: Its start and its end.
        size: Height and width of the image.
    """
    height, width = size
    if _beside(ends, width) or _beside(_turned(ends), height):
        return Line(*ends, touches=False, is_cut=True)
    within_rows = _turned(_clip(_turned(ends), height))
    if _beside(within_rows, width):
        return Line(*within_rows, touches=False, is_cut=True)
    clipped = _clip(within_rows, width)
    return Line(*clipped, touches=True, is_cut=clipped != ends)


def _clip(ends: Ends, width: int) -> Ends:
    """Clip a line at both ends to 0 <= x < width."""
    (x1, y1), (x2, y2) = ends
    edge = min(max(x1, 0), width - 1)
    if edge != x1:
        x1, y1 = edge, y1 + int((edge - x1) * (y2 - y1) / (x2 - x1))
    edge = min(max(x2, 0), width - 1)
    if edge != x2:
        x2, y2 = edge, y2 + int((edge - x2) * (y2 - y1) / (x2 - x1))
    return (x1, y1), (x2, y2)


def _beside(ends: Ends, width: int) -> bool:
    """Return whether a line lies to the left or to the right of the image."""
    (x1, _), (x2, _) = ends
    return max(x1, x2) < 0 or min(x1, x2) >= width


def _turned(ends: Ends) -> Ends:
    """Return a line with rows and columns exchanged."""
    (x1, y1), (x2, y2) = ends
    return (y1, x1), (y2, x2)


def fill_polygon(points: Sequence[Sequence[float]], size: tuple[int, int]) -> BoolMask:
    """Draw a polygon with its outline; the pixels are those of OpenCV up to 4.10.

    Args:
        points: Its corners, x and y each; fractions are truncated.
        size: Height and width of the image.

    Returns:
        The pixels, bool ``[H, W]``.

    Raises:
        RecordError: If the points are not pairs of numbers, or one is far away from the image.
    """
    corners = _corners(points, size)
    edges = list(zip([corners[-1], *corners[:-1]], corners, strict=True))
    lines = [clip_line(edge, size) for edge in edges]
    canvas = np.zeros(size, dtype=bool)
    _fill(canvas, [_slope(edge, line) for edge, line in zip(edges, lines, strict=True) if edge[0][1] != edge[1][1]])
    for line in lines:
        if line.touches:
            columns, rows = _bresenham(line.start, line.end)
            canvas[rows, columns] = True
    return canvas


def _corners(points: Sequence[Sequence[float]], size: tuple[int, int]) -> list[Point]:
    try:
        corners = np.array([(x, y) for x, y in points], dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RecordError(f"polygon: expected points of x and y, got {str(points)[:80]} ({error})") from error
    if not (np.abs(corners) <= _FARTHEST * max(size)).all():
        raise RecordError(f"polygon: a point is far outside of the image, which has size {tuple(size)}")
    return [(int(x), int(y)) for x, y in corners]


def _slope(edge: Ends, line: Line) -> tuple[int, int, int, int]:
    """Return the first row of an edge, the row after its last, its first column, and the step of the column per row.

    Columns are in fixed point and are truncated to pixels later.
    """
    (_, first), (_, last) = edge
    (x0, y0), (x1, y1) = edge if line.start[1] == line.end[1] else (line.start, line.end)
    run, rise = (x1 - x0) * _ONE, y1 - y0
    # C truncates quotients towards zero
    step = abs(run) // abs(rise) * (1 if (run < 0) == (rise < 0) else -1)
    x, y = (x0, y0) if first < last else (x1, y1)
    top = min(first, last)
    column = x * _ONE + (top - y) * step + (0 if line.is_cut else _HALF)
    return top, max(first, last), column, step


def _fill(canvas: BoolMask, slopes: Sequence[tuple[int, int, int, int]]) -> None:
    """Fill between the first and second, third and fourth ... crossing of each row."""
    top, bottom, column, step = np.array(slopes, dtype=np.int64).reshape(-1, 4).T
    for row in range(len(canvas)):
        crossed = (top <= row) & (row < bottom)
        crossings = np.sort(column[crossed] + step[crossed] * (row - top[crossed])) >> _SHIFT
        for left, right in crossings.reshape(-1, 2):
            canvas[row, max(left, 0) : max(right + 1, 0)] = True


def _bresenham(start: Point, end: Point) -> tuple[Points, Points]:
    """Return the columns and rows of a line with eight neighbours, drawn from left to right."""
    (x0, y0), (x1, y1) = sorted([start, end], key=lambda point: point[0])
    width, height = x1 - x0, abs(y1 - y0)
    longer, shorter = max(width, height), min(width, height)
    along = np.arange(longer + 1)
    across = -((longer - 2 * shorter * along) // (2 * longer)) if longer else along
    columns, rows = (along, across) if width >= height else (across, along)
    return x0 + columns, y0 + (rows if y1 >= y0 else -rows)
