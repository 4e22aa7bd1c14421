"""How the ground is painted: sea, soil, street, lane; in shares of the picture."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.palette import GROUND, blend, shade

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
