"""Colours, and a brush that paints a picture and its label map with the same strokes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RGB = tuple[int, int, int]

# Far apart in hue, so that a bluish night or an orange dusk cannot turn one into another.
PAINT: Mapping[str, RGB] = MappingProxyType(
    {
        "red": (214, 36, 40),
        "orange": (246, 136, 28),
        "yellow": (250, 220, 50),
        "green": (28, 150, 72),
        "blue": (42, 100, 222),
        "purple": (126, 52, 176),
        "pink": (250, 132, 190),
        "white": (246, 246, 242),
    }
)

# Factors of red, green and blue for everything that does not emit light.
TINT: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"day": (1.0, 1.0, 1.0), "dusk": (1.0, 0.86, 0.80), "night": (0.68, 0.71, 0.87)}
)

# Colours of the sky at its top and bottom.
SKY: Mapping[str, tuple[RGB, RGB]] = MappingProxyType(
    {
        "day": ((98, 164, 232), (196, 224, 246)),
        "dusk": ((96, 84, 156), (250, 178, 132)),
        "night": ((14, 18, 52), (50, 60, 108)),
    }
)

GROUND: Mapping[str, RGB] = MappingProxyType(
    {
        "grass": (124, 172, 78),
        "sand": (226, 200, 142),
        "snow": (232, 238, 246),
        "sea": (48, 124, 164),
        "mountain": (124, 120, 136),
        "road": (98, 98, 104),
        "brick wall": (176, 98, 78),
    }
)

BARK: RGB = (112, 78, 50)
CREAM: RGB = (244, 232, 206)
DARK: RGB = (48, 46, 54)
GLASS: RGB = (176, 216, 236)
LEAF: RGB = (70, 130, 54)


def shade(colour: RGB, factor: float) -> RGB:
    """Make a colour darker (factor below 1) or lighter (above 1, towards white).

    Args:
        colour: The colour to change.
        factor: 0 is black, 1 the same, 2 white.
    """
    if factor <= 1:
        red, green, blue = (round(c * factor) for c in colour)
    else:
        red, green, blue = (round(c + (255 - c) * (factor - 1)) for c in colour)
    return red, green, blue


def blend(first: RGB, second: RGB, share: float) -> RGB:
    """Mix two colours.

    Args:
        first: Colour at share 0.
        second: Colour at share 1.
        share: Share of the second colour, 0 to 1.
    """
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


Point = tuple[float, float]


@dataclass(frozen=True)
class Brush:
    """Draws shapes in the units of one object, into both the picture and the codes.

    Args:
        canvas: What is painted on.
        code: The value that strokes write into the map.
        origin: Pixel of the point (0, 0).
        scale: Pixels of one unit; x grows to the right, y downwards.
        tint: Factors of the light on the paint, for red, green and blue.
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
        """Return a brush for parts that emit light, whose colours are not tinted."""
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
        """Fill a rectangle with horizontal and vertical sides.

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
        steps: Number of segments.
    """
    angles = [math.radians(start + (stop - start) * k / steps) for k in range(steps + 1)]
    return [(centre[0] + radii[0] * math.cos(a), centre[1] + radii[1] * math.sin(a)) for a in angles]


@dataclass
class Canvas:
    """The picture and the map of codes, at twice the final size.

    Args:
        picture: RGB image.
        codes: One byte per pixel: the index of a stuff, or the number of a thing after those.
    """

    picture: Image.Image
    codes: Image.Image

    @classmethod
    def blank(cls, size: int) -> Canvas:
        """Make an empty canvas.

        Args:
            size: Width and height of the final picture.
        """
        side = (2 * size, 2 * size)
        return cls(Image.new("RGB", side), Image.new("L", side))

    def copy(self) -> Canvas:
        """Return an independent copy."""
        return Canvas(self.picture.copy(), self.codes.copy())
