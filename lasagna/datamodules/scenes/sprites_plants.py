"""What grows: oak, pine, flower, mushroom."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.brush import arc
from lasagna.datamodules.scenes.palette import BARK, CREAM, LEAF, PAINT, RGB, shade

if TYPE_CHECKING:
    from lasagna.datamodules.scenes.brush import Brush


def oak(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a broad round crown on a stout trunk.

    Args:
        brush: Brush of the thing.
        colour: Not used, leaves are green.
        vary: Shape and tone of the crown, 0 to 1.
    """
    leaf = shade((88, 136, 48), 0.9 + 0.2 * vary)
    brush.polygon([(-0.14, 0.2), (0.14, 0.2), (0.24, 1.0), (-0.24, 1.0)], BARK, edge=True)
    puffs = ((-0.58, 0.02, 0.42), (0.58, 0.0, 0.42), (-0.3, -0.5, 0.46), (0.34, -0.48, 0.44))
    for x, y, r in puffs:
        brush.ellipse((x, y), (r, r), shade(leaf, 0.7))
    brush.ellipse((0, 0.08), (0.6, 0.36), shade(leaf, 0.7))
    for x, y, r in puffs:
        brush.ellipse((x - 0.04, y - 0.06), (r * 0.86, r * 0.84), leaf)
    brush.ellipse((0, -0.12), (0.5, 0.4), leaf)
    brush.ellipse((-0.3, -0.5 - 0.1 * vary), (0.2, 0.16), shade(leaf, 1.2))


def pine(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw three stacked triangles on a thin trunk.

    Args:
        brush: Brush of the thing.
        colour: Not used, needles are dark green.
        vary: Width and tone of the tree, 0 to 1.
    """
    needle = shade((30, 88, 70), 0.9 + 0.2 * vary)
    wide = 0.62 + 0.14 * vary
    brush.bar((-0.12, 0.6), (0.12, 1.0), shade(BARK, 0.85))
    for low, high, share in ((0.78, -0.1, 1.0), (0.3, -0.55, 0.8), (-0.22, -1.1, 0.58)):
        half = wide * share
        brush.polygon([(0, high), (half, low), (-half, low)], needle, edge=True)
        brush.polygon([(0, high + 0.1), (-half * 0.2, low - 0.1), (-half * 0.8, low - 0.1)], shade(needle, 1.2))


def flower(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw six petals around an eye, on a stem with two leaves.

    Args:
        brush: Brush of the thing.
        colour: Its petals.
        vary: Turn of the petals, 0 to 1.
    """
    brush.line([(0, -0.2), (0, 1.0)], LEAF, 0.16)
    brush.ellipse((-0.3, 0.68), (0.28, 0.13), LEAF)
    brush.ellipse((0.3, 0.54), (0.28, 0.13), shade(LEAF, 0.85))
    for k in range(6):
        a = math.tau * (k + vary) / 6
        brush.ellipse((0.42 * math.cos(a), -0.34 + 0.42 * math.sin(a)), (0.31, 0.31), colour, edge=True)
    eye = PAINT["orange"] if colour == PAINT["yellow"] else (250, 208, 60)
    brush.ellipse((0, -0.34), (0.24, 0.24), eye)


def mushroom(brush: Brush, colour: RGB, vary: float) -> None:
    """Draw a spotted cap on a pale stem.

    Args:
        brush: Brush of the thing.
        colour: Its cap.
        vary: Place of the spots, 0 to 1.
    """
    spot = (196, 190, 184) if colour == PAINT["white"] else CREAM
    brush.polygon([(-0.24, 0.0), (0.24, 0.0), (0.34, 1.0), (-0.34, 1.0)], CREAM, edge=True)
    dome = arc((0, 0.1), (0.92, 0.98), 180, 360, 16)
    brush.polygon([*dome, (0.6, 0.3), (-0.6, 0.3)], colour, edge=True)
    for x, y, r in ((-0.48, -0.12, 0.15), (0.05, -0.5, 0.18), (0.5, -0.08, 0.13)):
        brush.ellipse((x + 0.1 * (vary - 0.5), y), (r, r), spot)
