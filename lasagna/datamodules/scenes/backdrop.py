"""The landscape of a scene: where its stuff is, and where things may be placed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes import terrain
from lasagna.datamodules.scenes.brush import TINT, Brush, Canvas
from lasagna.datamodules.scenes.scene import STUFF, pick

if TYPE_CHECKING:
    import numpy as np

SOILS = ("grass", "sand", "snow")


@dataclass(frozen=True)
class Zone:
    """Where the centre of a thing in the air, or the foot of a thing on the ground, may be.

    Args:
        left: Least column, as a share of the width.
        right: Greatest column.
        top: Least row, as a share of the height.
        bottom: Greatest row.
    """

    left: float
    right: float
    top: float
    bottom: float


@dataclass
class Backdrop:
    """A painted landscape with its zones.

    Zones are "heaven" (open sky above all hills), "air" (above the horizon), "ground" (dry land), "soil" (dry land
    except the road), "road" and "sea"; a landscape has only some of them.

    Args:
        canvas: The painted landscape.
        light: One of "day", "dusk", "night".
        horizon: Row of the horizon, as a share of the height.
        zones: Zones by name.
    """

    canvas: Canvas
    light: str
    horizon: float
    zones: dict[str, Zone] = field(default_factory=dict)

    def brush(self, stuff: str) -> Brush:
        """Return a brush for a kind of stuff, whose unit is the side of the picture.

        Args:
            stuff: One of ``STUFF``.
        """
        side = float(self.canvas.picture.width)
        return Brush(self.canvas, STUFF.index(stuff), scale=side, tint=TINT[self.light])


def paint_backdrop(rng: np.random.Generator, size: int, light: str) -> Backdrop:
    """Paint a random landscape.

    Args:
        rng: Random generator of all choices.
        size: Width and height of the final picture.
        light: One of "day", "dusk", "night".
    """
    land = Backdrop(Canvas.blank(size), light, rng.uniform(0.42, 0.6))
    terrain.sky(rng, land.brush("sky"), light)
    land.zones["air"] = Zone(0.08, 0.92, 0.14, land.horizon - 0.06)
    land.zones["heaven"] = Zone(0.1, 0.9, 0.13, land.horizon - 0.14)
    coast = rng.random() < 0.45
    _paint_behind(rng, land, coast)
    if coast:
        _paint_coast(rng, land)
    else:
        _paint_inland(rng, land)
    return land


def _paint_behind(rng: np.random.Generator, land: Backdrop, coast: bool) -> None:
    draw = rng.random()
    if draw < 0.4:
        peak = terrain.mountain(rng, land.brush("mountain"), land.horizon)
        land.zones["heaven"] = Zone(0.1, 0.9, 0.13, max(0.14, peak - 0.1))
    elif draw < 0.7 and not coast:
        _paint_wall(rng, land)


def _paint_wall(rng: np.random.Generator, land: Backdrop) -> None:
    left, right = ((0.0, 1.0), (0.0, 0.5), (0.5, 1.0))[rng.integers(3)]
    top = 0.0 if right - left == 1 else rng.uniform(0.0, 0.2)
    terrain.brick_wall(rng, land.brush("brick wall"), (left, top), (right, land.horizon))
    if right - left == 1:
        del land.zones["heaven"]
    else:
        land.zones["heaven"] = Zone(0.6, 0.9, 0.13, 0.3) if left == 0 else Zone(0.1, 0.4, 0.13, 0.3)


def _paint_coast(rng: np.random.Generator, land: Backdrop) -> None:
    shore = 1.0 if rng.random() < 0.25 else rng.uniform(0.7, 0.84)
    terrain.sea(rng, land.brush("sea"), land.horizon)
    land.zones["sea"] = Zone(0.08, 0.92, land.horizon + 0.07, min(0.95, shore))
    if shore < 1:
        _paint_soil(rng, land, shore, 0.02)
        land.zones["ground"] = land.zones["soil"] = Zone(0.08, 0.92, shore + 0.07, 0.97)


def _paint_inland(rng: np.random.Generator, land: Backdrop) -> None:
    _paint_soil(rng, land, land.horizon, 0.006)
    draw = rng.random()
    ground = Zone(0.08, 0.92, land.horizon + 0.08, 0.97)
    land.zones["ground"] = land.zones["soil"] = ground
    if draw < 0.35:
        top = rng.uniform(land.horizon + 0.08, 0.76)
        terrain.street(rng, land.brush("road"), top, top + 0.2)
        land.zones["road"] = Zone(0.1, 0.9, top + 0.08, top + 0.17)
        land.zones["soil"] = (
            Zone(0.08, 0.92, top + 0.24, 0.99) if top < 0.7 else Zone(0.08, 0.92, land.horizon + 0.04, top)
        )
    elif draw < 0.6:
        foot = rng.uniform(0.3, 0.7)
        terrain.lane(rng, land.brush("road"), land.horizon, foot)
        land.zones["road"] = Zone(foot - 0.16, foot + 0.16, land.horizon + 0.2, 0.96)
        land.zones["soil"] = (
            Zone(0.08, foot - 0.26, ground.top, 0.97) if foot > 0.5 else Zone(foot + 0.26, 0.92, ground.top, 0.97)
        )


def _paint_soil(rng: np.random.Generator, land: Backdrop, top: float, swell: float) -> None:
    name = pick(rng, SOILS)
    terrain.soil(rng, land.brush(name), name, top=top, swell=swell)
