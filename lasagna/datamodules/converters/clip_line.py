"""Lines cut off at the border of an image as OpenCV cuts them.

Source: ``clipLine`` in ``modules/imgproc/src/drawing.cpp`` of ``opencv/opencv``: rows first, then columns; of each the
start first, and the end along what is left then; quotients are cut to whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

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
