"""Polygons drawn to the pixel as OpenCV draws them, for data sets whose masks are made that way.

OpenCV itself would not do: from 4.11 on ``fillPoly`` leaves out pixels beyond the outline that it filled before, and
the code of ReasonSeg asks for 4.8.

Source: ``modules/imgproc/src/drawing.cpp`` of ``opencv/opencv`` (``fillPoly`` and ``polylines``, eight neighbours, no
smoothing): the outline by Bresenham, and within it every row between the edges. Where these cross a row is rounded to
the nearest pixel; edges that leave the image are first cut off at its border, and cut to whole pixels then.
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


@dataclass(frozen=True)
class Line:
    """What of a line is drawn.

    Args:
        start: Its start.
        end: Its end.
        touches: Whether it lies within the image; of a line that passes by, ends may have been moved all the same.
        is_cut: Whether one of the ends that it had lies outside of the image.
    """

    start: Point
    end: Point
    touches: bool
    is_cut: bool


def clip_line(ends: Ends, size: tuple[int, int]) -> Line:
    """Cut a line off at the border of an image.

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
    """Cut a line at both ends to 0 <= x < width."""
    (x1, y1), (x2, y2) = ends
    edge = min(max(x1, 0), width - 1)
    if edge != x1:
        x1, y1 = edge, y1 + int((edge - x1) * (y2 - y1) / (x2 - x1))
    edge = min(max(x2, 0), width - 1)
    if edge != x2:
        x2, y2 = edge, y2 + int((edge - x2) * (y2 - y1) / (x2 - x1))
    return (x1, y1), (x2, y2)


def _beside(ends: Ends, width: int) -> bool:
    (x1, _), (x2, _) = ends
    return max(x1, x2) < 0 or min(x1, x2) >= width


def _turned(ends: Ends) -> Ends:
    (x1, y1), (x2, y2) = ends
    return (y1, x1), (y2, x2)


_FARTHEST = 16
_SHIFT = 16
_ONE = 1 << _SHIFT
_HALF = _ONE >> 1

Points = NDArray[np.int64]


def fill_polygon(points: Sequence[Sequence[float]], size: tuple[int, int]) -> BoolMask:
    """Draw a polygon with its outline; the pixels are those of OpenCV up to 4.10.

    Args:
        points: Its corners, x and y each; fractions are cut off.
        size: Height and width of the image.

    Returns:
        The pixels, bool ``[H, W]``.

    Raises:
        RecordError: If the points are no pairs of numbers, or one is far away from the image.
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
        raise RecordError(f"polygon: its points are pairs of x and y, got {str(points)[:80]} ({error})") from error
    if not (np.abs(corners) <= _FARTHEST * max(size)).all():
        raise RecordError(f"polygon: a point is far outside of the image, which is of size {tuple(size)}")
    return [(int(x), int(y)) for x, y in corners]


def _slope(edge: tuple[Point, Point], line: Line) -> tuple[int, int, int, int]:
    """Return the first row of an edge and the one after its last, its first column and the step a row.

    Columns are in fixed point, to be cut to whole ones.
    """
    (_, first), (_, last) = edge
    (x0, y0), (x1, y1) = edge if line.start[1] == line.end[1] else (line.start, line.end)
    run, rise = (x1 - x0) * _ONE, y1 - y0
    # C rounds quotients towards zero
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
    """Return the columns and rows of a line of eight neighbours, drawn from left to right."""
    (x0, y0), (x1, y1) = sorted([start, end], key=lambda point: point[0])
    width, height = x1 - x0, abs(y1 - y0)
    longer, shorter = max(width, height), min(width, height)
    along = np.arange(longer + 1)
    across = -((longer - 2 * shorter * along) // (2 * longer)) if longer else along
    columns, rows = (along, across) if width >= height else (across, along)
    return x0 + columns, y0 + (rows if y1 >= y0 else -rows)
