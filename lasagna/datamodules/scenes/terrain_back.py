"""How what lies behind is painted: sky, mountain, brick wall; in shares of the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.palette import GROUND, SKY, blend, shade

if TYPE_CHECKING:
    import numpy as np

    from lasagna.datamodules.scenes.brush import Brush, Point


def sky(rng: np.random.Generator, brush: Brush, light: str) -> None:
    """Fill the picture with a graded sky, with stars at night.

    Args:
        rng: Places the stars.
        brush: Brush of the sky.
        light: One of "day", "dusk", "night".
    """
    shining, (top, bottom) = brush.shining(), SKY[light]
    for k in range(24):
        shining.bar((0, k / 36), (1, 1), blend(top, bottom, k / 23))
    if light == "night":
        for x, y in rng.uniform((0, 0), (1, 0.5), (14, 2)).tolist():
            shining.bar((x, y), (x + 0.004, y + 0.004), (206, 210, 236))


def mountain(rng: np.random.Generator, brush: Brush, horizon: float) -> float:
    """Paint a range with snow on its peaks.

    Args:
        rng: Places the peaks.
        brush: Brush of the mountain.
        horizon: Row of its foot.

    Returns:
        Row of the highest peak.
    """
    rock = shade(GROUND["mountain"], rng.uniform(0.85, 1.1))
    peaks = [(x + rng.uniform(-0.1, 0.1), rng.uniform(0.12, 0.26)) for x in (0.15, 0.85, 0.5)]
    for k, (x, high) in enumerate(peaks):
        top, tone = horizon - high, shade(rock, 0.86 + 0.09 * k)
        foot = horizon + 0.04
        brush.polygon([(x - 1.7 * high, foot), (x, top), (x + 1.7 * high, foot)], tone)
        brush.polygon([(x, top), (x + 1.7 * high, foot), (x + 0.3 * high, foot)], shade(tone, 0.84))
        cap = ((0, 0), (0.06, 0.04), (0.01, 0.035), (-0.02, 0.06), (-0.06, 0.04))
        brush.polygon([(x + right, top + down) for right, down in cap], (236, 238, 246))
    brush.bar((0, horizon - 0.03), (1, horizon + 0.04), shade(rock, 0.8))
    return horizon - max(high for _, high in peaks)


def brick_wall(rng: np.random.Generator, brush: Brush, start: Point, end: Point) -> None:
    """Paint rows of bricks with pale joints.

    Args:
        rng: Picks the tone and the size of the bricks.
        brush: Brush of the wall.
        start: Left and top.
        end: Right and bottom; the foot goes a little below.
    """
    brick = shade(GROUND["brick wall"], rng.uniform(0.85, 1.1))
    joint, high = blend(brick, (226, 214, 200), 0.6), rng.uniform(0.052, 0.066)
    low = end[1] + 0.02
    brush.bar(start, (end[0], low), brick)
    for row in range(math.ceil((low - start[1]) / high)):
        y = start[1] + row * high
        brush.line([(start[0], y), (end[0] - 0.002, y)], joint, 0.006)
        for k in range(math.floor((end[0] - start[0]) / (2.2 * high))):
            x = start[0] + (k + 0.5 + 0.5 * (row % 2)) * 2.2 * high
            brush.line([(x, y), (x, min(y + high, low))], joint, 0.006)
