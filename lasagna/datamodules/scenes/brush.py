"""A brush that paints a picture and its label map in one stroke."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from PIL import ImageDraw

from lasagna.datamodules.scenes.palette import RGB, shade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lasagna.datamodules.scenes.canvas import Canvas

Point = tuple[float, float]


@dataclass(frozen=True)
class Brush:
    """Draws shapes in the units of one object, into picture and codes alike.

    Attributes:
        canvas: What is painted on.
        code: What the strokes write into the map.
        origin: Pixel of the point (0, 0).
        scale: Pixels of one unit; x grows to the right, y downwards.
        tint: Light that falls on the paint, by channel.
        mirrored: Whether x grows to the left.
    """

    canvas: Canvas
    code: int
    origin: Point = (0.0, 0.0)
    scale: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirrored: bool = False
    _picture: ImageDraw.ImageDraw = field(init=False, repr=False)
    _codes: ImageDraw.ImageDraw = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Open both layers for drawing."""
        object.__setattr__(self, "_picture", ImageDraw.Draw(self.canvas.picture))
        object.__setattr__(self, "_codes", ImageDraw.Draw(self.canvas.codes))

    def shining(self) -> Brush:
        """Return the brush for what shines by itself: no light falls on it."""
        return replace(self, tint=(1.0, 1.0, 1.0))

    def polygon(self, points: Sequence[Point], colour: RGB, *, edge: bool = False) -> None:
        """Fill a polygon.

        Args:
            points: Corners in units.
            colour: Paint.
            edge: Whether to draw a darker outline.
        """
        places = [self._place(point) for point in points]
        self._picture.polygon(places, self._lit(colour), self._edge(colour, edge), 2)
        self._codes.polygon(places, self.code)

    def ellipse(self, centre: Point, radii: Point, colour: RGB, *, edge: bool = False) -> None:
        """Fill an ellipse.

        Args:
            centre: Its centre in units.
            radii: Half its width and half its height in units.
            colour: Paint.
            edge: Whether to draw a darker outline.
        """
        x, y = self._place(centre)
        rx, ry = radii[0] * self.scale, radii[1] * self.scale
        box = (x - rx, y - ry, x + rx, y + ry)
        self._picture.ellipse(box, self._lit(colour), self._edge(colour, edge), 2)
        self._codes.ellipse(box, self.code)

    def line(self, points: Sequence[Point], colour: RGB, width: float) -> None:
        """Draw a line.

        Args:
            points: Corners in units.
            colour: Paint.
            width: Thickness in units; never less than one final pixel.
        """
        places = [self._place(point) for point in points]
        thickness = max(2, round(width * self.scale))
        self._picture.line(places, self._lit(colour), thickness)
        self._codes.line(places, self.code, thickness)

    def bar(self, start: Point, end: Point, colour: RGB, *, edge: bool = False) -> None:
        """Fill an upright rectangle.

        Args:
            start: One corner in units.
            end: The opposite corner.
            colour: Paint.
            edge: Whether to draw a darker outline.
        """
        (x, y), (u, v) = start, end
        self.polygon([(x, y), (u, y), (u, v), (x, v)], colour, edge=edge)

    def _place(self, point: Point) -> Point:
        side = -self.scale if self.mirrored else self.scale
        return self.origin[0] + point[0] * side, self.origin[1] + point[1] * self.scale

    def _lit(self, colour: RGB) -> RGB:
        red, green, blue = (int(c * t) for c, t in zip(colour, self.tint, strict=True))
        return red, green, blue

    def _edge(self, colour: RGB, edge: bool) -> RGB | None:
        return self._lit(shade(colour, 0.62)) if edge else None


def arc(centre: Point, radii: Point, start: float, stop: float, steps: int = 12) -> list[Point]:
    """Return points along an arc, clockwise on the screen.

    Args:
        centre: Centre of the ellipse.
        radii: Half its width and half its height.
        start: First angle in degrees; 0 is right, 90 down.
        stop: Last angle in degrees.
        steps: Number of pieces.
    """
    angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
    return [(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles]
