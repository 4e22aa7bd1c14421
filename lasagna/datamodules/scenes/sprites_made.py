"""What people made: house, car, boat, ball, fence, umbrella."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.brush import arc
from lasagna.datamodules.scenes.palette import BARK, CREAM, DARK, GLASS, RGB, shade

if TYPE_CHECKING:
    from lasagna.datamodules.scenes.brush import Brush


def house(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw painted walls under a gabled roof.

    Args:
        brush: Brush of the thing.
        colour: Its walls.
        vary: Height of the roof, 0 to 1.
    """
    roof = (104, 66, 58)
    brush.bar((0.36, -0.95), (0.6, -0.3), roof)
    brush.bar((-0.8, -0.2), (0.8, 1.0), colour, edge=True)
    brush.polygon([(-1.02, -0.14), (0, -0.8 - 0.2 * vary), (1.02, -0.14)], roof, edge=True)
    brush.bar((-0.17, 0.4), (0.17, 1.0), shade(BARK, 0.8))
    for x in (-0.5, 0.5):
        brush.shining().bar((x - 0.17, 0.12), (x + 0.17, 0.46), (255, 236, 150), edge=True)


def car(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a small car from the side.

    Args:
        brush: Brush of the thing.
        colour: Its body.
        vary: Length of the cabin, 0 to 1.
    """
    back = -0.6 - 0.2 * vary
    brush.polygon([(back, 0.3), (back + 0.2, -0.22), (0.3, -0.22), (0.64, 0.3)], colour, edge=True)
    brush.polygon([(back + 0.14, 0.28), (back + 0.28, -0.08), (-0.1, -0.08), (-0.1, 0.28)], GLASS)
    brush.polygon([(0.02, 0.28), (0.02, -0.08), (0.24, -0.08), (0.46, 0.28)], GLASS)
    brush.polygon([(-1.08, 0.4), (-0.98, 0.26), (0.7, 0.26), (1.08, 0.44), (1.1, 0.8), (-1.1, 0.8)], colour, edge=True)
    brush.bar((0.96, 0.44), (1.1, 0.58), (255, 240, 160))
    for x in (-0.6, 0.6):
        brush.ellipse((x, 0.76), (0.27, 0.27), DARK)
        brush.ellipse((x, 0.76), (0.12, 0.12), (186, 186, 192))


def boat(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a hull with a mast, a pale main sail and a painted jib.

    Args:
        brush: Brush of the thing.
        colour: Its hull and jib.
        vary: Size of the jib, 0 to 1.
    """
    brush.line([(0, -1.05), (0, 0.5)], BARK, 0.1)
    brush.polygon([(0.1, -1.0), (0.92, 0.36), (0.1, 0.36)], CREAM, edge=True)
    brush.polygon([(-0.08, -0.8), (-0.08, 0.36), (-0.5 - 0.25 * vary, 0.36)], colour, edge=True)
    brush.polygon([(-1.05, 0.44), (1.08, 0.44), (0.74, 1.0), (-0.7, 1.0)], colour, edge=True)
    brush.line([(-0.94, 0.62), (0.96, 0.62)], shade(colour, 0.7), 0.1)


def ball(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a round ball with a curved band and a highlight.

    Args:
        brush: Brush of the thing.
        colour: Its skin.
        vary: Tilt of the band, 0 to 1.
    """
    brush.ellipse((0, 0.16), (0.84, 0.84), colour, edge=True)
    tilt = 0.3 * (vary - 0.5)
    low = arc((0, 0.1 + tilt), (0.8, 0.34), 170, 10, 10)
    high = arc((0, -0.08 + tilt), (0.8, 0.34), 10, 170, 10)
    brush.polygon(low + high, shade(colour, 0.68))
    brush.ellipse((-0.3, -0.26), (0.18, 0.14), shade(colour, 1.75))


def fence(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw five broad pickets on two rails.

    Args:
        brush: Brush of the thing.
        colour: Its boards.
        vary: Height of the pickets, 0 to 1.
    """
    top = -0.14 - 0.2 * vary
    for y in (0.2, 0.68):
        brush.bar((-1.12, y), (1.12, y + 0.18), shade(colour, 0.7))
    for k in range(5):
        x = (k - 2) * 0.48
        corners = [(x - 0.17, 1.0), (x - 0.17, top + 0.2), (x, top), (x + 0.17, top + 0.2), (x + 0.17, 1.0)]
        brush.polygon(corners, colour, edge=True)


def umbrella(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a scalloped dome in two shades over a hooked stick.

    Args:
        brush: Brush of the thing.
        colour: Its cloth.
        vary: Height of the dome, 0 to 1.
    """
    high = 0.78 + 0.16 * vary
    brush.line([(0, -0.95), (0, 0.9), (0.12, 1.0), (0.28, 0.92), (0.3, 0.76)], DARK, 0.12)
    hem = [p for k in range(4) for p in arc((0.78 - 0.52 * k, 0.05), (0.26, 0.16), 0, -180, 5)]
    brush.polygon([*arc((0, 0.05), (1.04, high), 180, 360, 16), *hem], colour, edge=True)
    brush.polygon([*arc((0, 0.05), (0.52, high), 180, 360, 12), *hem[6:18]], shade(colour, 0.76))
    brush.line([(0, 0.05), (0, 0.02 - high)], shade(colour, 0.6), 0.05)
