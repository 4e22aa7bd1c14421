"""Colours of paint and of light."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

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

# How much red, green and blue reaches what does not shine by itself.
TINT: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {"day": (1.0, 1.0, 1.0), "dusk": (1.0, 0.86, 0.80), "night": (0.68, 0.71, 0.87)}
)

# Top and bottom of the sky.
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
        share: How much of the second, 0 to 1.
    """
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
