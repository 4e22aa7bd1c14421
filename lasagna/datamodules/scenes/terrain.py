"""Paint the stuff of a landscape: sea, soil, roads, sky, mountains and walls; lengths are shares of the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.brush import GROUND, SKY, blend, shade

if TYPE_CHECKING:
    import numpy as np

    from lasagna.datamodules.scenes.brush import Brush, Point


def sea(rng: np.random.Generator, brush: Brush, horizon: float) -> None:
    """Paint water that is lighter far away, with short waves.

    Args:
        rng: Places the waves.
        brush: Brush of the sea.
        horizon: Row where the water begins.
    """
    water = shade(GROUND["sea"], rng.uniform(0.9, 1.1))
    far = shade(water, 1.25)
    for k in range(12):
        brush.bar((0, horizon + k * (1 - horizon) / 12), (1, 1), blend(far, shade(water, 0.86), k / 11))
    for x, y, long in rng.uniform((0, horizon + 0.03, 0.03), (1, 0.99, 0.09), (26, 3)).tolist():
        brush.line([(x, y), (x + long / 2, y - 0.008), (x + long, y)], shade(water, 1.4), 0.008)


def soil(rng: np.random.Generator, brush: Brush, name: str, *, top: float, swell: float) -> None:
    """Paint grass with blades, sand with pebbles or snow with soft drifts.

    Args:
        rng: Places the marks.
        brush: Brush of the soil.
        name: "grass", "sand" or "snow".
        top: Row of its upper border.
        swell: Height of the waves of that border.
    """
    base, phase = shade(GROUND[name], rng.uniform(0.92, 1.04)), rng.uniform(0, math.tau)
    border = [(k / 16, top + swell * math.sin(phase + k * 0.7)) for k in range(17)]
    brush.polygon([*border, (1, 1), (0, 1)], base)
    low = top + swell + 0.03
    for x, y, tone in rng.uniform((0, low, 0.84), (1, 1, 1.2), (70, 3)).tolist():
        _mark(brush, name, (x, y), shade(base, tone))


def _mark(brush: Brush, name: str, at: Point, colour: tuple[int, int, int]) -> None:
    x, y = at
    if name == "grass":
        brush.line([(x, y), (x + 0.006, y - 0.026)], colour, 0.01)
    elif name == "sand":
        brush.bar((x, y), (x + 0.012, y + 0.006), colour)
    elif x < 0.25:
        brush.line([(4 * x - 0.1, y), (4 * x, y - 0.006), (4 * x + 0.1, y)], blend(colour, (170, 190, 224), 0.4), 0.008)


def street(rng: np.random.Generator, brush: Brush, top: float, bottom: float) -> None:
    """Paint a road across the picture, with kerbs and a dashed line.

    Args:
        rng: Shifts the dashes.
        brush: Brush of the road.
        top: Its upper border.
        bottom: Its lower border.
    """
    tar = shade(GROUND["road"], rng.uniform(0.85, 1.1))
    brush.bar((0, top), (1, bottom), tar)
    for y in (top, bottom - 0.02):
        brush.bar((0, y), (1, y + 0.018), (188, 186, 182))
    middle, shift = (top + bottom) / 2, rng.uniform(-0.15, 0)
    for k in range(6):
        x = shift + 0.22 * k
        brush.bar((x, middle - 0.01), (x + 0.12, middle + 0.01), (236, 228, 196))


def lane(rng: np.random.Generator, brush: Brush, horizon: float, foot: float) -> None:
    """Paint a road that runs to the horizon.

    Args:
        rng: Picks where it meets the horizon.
        brush: Brush of the road.
        horizon: Row of its far end.
        foot: Column of the middle of its near end.
    """
    tar, far = shade(GROUND["road"], rng.uniform(0.85, 1.1)), rng.uniform(0.35, 0.65)
    top = horizon + 0.01
    for near, away, colour in ((0.28, 0.05, (188, 186, 182)), (0.25, 0.04, tar)):
        brush.polygon([(far - away, top), (far + away, top), (foot + near, 1), (foot - near, 1)], colour)
    for k in (0.08, 0.3, 0.62):
        x, u = (far + (foot - far) * s for s in (k, k * 1.5))
        y, v = (top + (1 - top) * s for s in (k, k * 1.5))
        brush.polygon([(x - 0.02 * k, y), (x + 0.02 * k, y), (u + 0.035 * k, v), (u - 0.035 * k, v)], (236, 228, 196))


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
