"""Draw a scene: the landscape, the things, the light, and the maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lasagna.datamodules.scenes import sprites
from lasagna.datamodules.scenes.backdrop import Backdrop, paint_backdrop
from lasagna.datamodules.scenes.brush import PAINT, TINT, Brush
from lasagna.datamodules.scenes.hardness import Hardness
from lasagna.datamodules.scenes.layout import Plan, plan_things
from lasagna.datamodules.scenes.scene import CATEGORIES, LIGHTS, STUFF, VOID, Scene, Thing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lasagna.datamodules.scenes.brush import Canvas

# Roughness of the texture of each stuff, in grey levels; things are smooth.
_ROUGHNESS = {"brick wall": 9.0, "grass": 8.0, "sand": 6.0, "snow": 2.5, "sea": 4.0, "mountain": 7.0, "road": 7.0}
_BY_CODE = np.full(256, 2.0, dtype=np.float32)
_BY_CODE[: len(STUFF)] = [_ROUGHNESS.get(name, 0.0) for name in STUFF]


def light_up(rng: np.random.Generator, picture: Image.Image, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add texture, a gradient of light and grain to a flat picture.

    Args:
        rng: Random generator of all choices.
        picture: RGB at final size.
        codes: Label codes at final size, stuff below ``len(STUFF)``.

    Returns:
        uint8 ``[size, size, 3]``.
    """
    size = picture.width
    pixels = np.asarray(picture, dtype=np.float32)
    fine = rng.standard_normal((size, size), dtype=np.float32)
    coarse = Image.fromarray(rng.standard_normal((12, 12), dtype=np.float32))
    patches = np.asarray(coarse.resize((size, size), Image.Resampling.BILINEAR))
    rough = _BY_CODE[codes] * (0.6 * fine + patches)
    gain = _gradient(rng, size)[:, :, None] * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    grain = rng.uniform(1.5, 4.0) * rng.standard_normal((size, size, 3), dtype=np.float32)
    lit: NDArray[np.float32] = (pixels + rough[:, :, None]) * gain + grain
    return lit.clip(0, 255).astype(np.uint8)


def _gradient(rng: np.random.Generator, size: int) -> NDArray[np.float32]:
    """Return factors around 1 that increase in a random direction, ``[size, size]``."""
    angle, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.13)
    ramp = np.linspace(-1, 1, size, dtype=np.float32)
    slope: NDArray[np.float32] = np.float32(np.cos(angle)) * ramp[:, None] + np.float32(np.sin(angle)) * ramp
    return slope * np.float32(depth / np.sqrt(2)) + np.float32(1)


EASY = Hardness()
_LIGHT_SHARES = (0.56, 0.22, 0.22)


def least_visible(size: int) -> int:
    """Return how many pixels of a thing or stuff must be visible: 24 of 96x96, and in proportion for other sizes.

    Args:
        size: Width and height of the picture.
    """
    return max(1, round(24 * (size / 96) ** 2))


def draw_scene(rng: np.random.Generator, size: int = 96, hardness: Hardness = EASY) -> Scene:
    """Draw a random landscape with exact maps.

    If too little of a thing is visible, it is left out and the others are drawn again; stuff of which too little is
    visible is ``VOID`` in the labels. The scene is drawn at twice its size, and a pixel's label is that of its lower
    right quarter.

    Args:
        rng: Random generator of all choices; the same state gives the same bytes.
        size: Width and height in pixels.
        hardness: How hard the presence of things is to tell.
    """
    return draw_twins(rng, size, hardness)[0]


Exchange = Callable[[Sequence[Plan], Backdrop], Iterable[list[Plan]]]
"""Takes the things of a scene and its landscape, and returns the things of its possible twins."""


def draw_twins(
    rng: np.random.Generator,
    size: int = 96,
    hardness: Hardness = EASY,
    exchange: Exchange | None = None,
) -> tuple[Scene, Scene | None]:
    """Draw a random landscape, and the same once more with other things.

    The scenes have the same landscape, light and grain. A twin of which a thing would not be visible enough gives way
    to the next possible one.

    Args:
        rng: Random generator of all choices; the first scene is that of ``draw_scene``.
        size: Width and height in pixels.
        hardness: How hard the presence of things is to tell.
        exchange: What is exchanged; without it, or if there is no possible twin, there is no second scene.
    """
    light = str(rng.choice(LIGHTS, p=_LIGHT_SHARES))
    land = paint_backdrop(rng, size, light)
    canvas, codes, plans = _draw_visible(land, plan_things(rng, land, hardness), size)
    grain = deepcopy(rng)
    scene = _assemble(light_up(rng, canvas.picture.reduce(2), codes), codes, plans, light)
    for others in exchange(plans, land) if exchange else ():
        canvas, codes, kept = _draw_visible(land, others, size)
        if kept == others:
            return scene, _assemble(light_up(grain, canvas.picture.reduce(2), codes), codes, others, light)
    return scene, None


def _draw_visible(land: Backdrop, plans: list[Plan], size: int) -> tuple[Canvas, NDArray[np.uint8], list[Plan]]:
    while True:
        canvas = land.canvas.copy()
        for k, plan in enumerate(plans):
            _draw_thing(canvas, plan, len(STUFF) + k, land.light)
        codes = np.asarray(canvas.codes)[1::2, 1::2]
        seen = np.bincount(codes.ravel(), minlength=len(STUFF) + len(plans))[len(STUFF) :]
        kept = [plan for plan, n in zip(plans, seen, strict=True) if n >= least_visible(size)]
        if len(kept) == len(plans):
            return canvas, codes, plans
        plans = kept


def _draw_thing(canvas: Canvas, plan: Plan, code: int, light: str) -> None:
    side = canvas.picture.width
    origin, scale = (plan.x * side, plan.y * side), plan.radius * side
    brush = Brush(canvas, code, origin, scale, TINT[light], plan.mirrored)
    paint = PAINT[plan.colour] if plan.colour else PAINT["white"]
    getattr(sprites, plan.name)(brush, paint, plan.vary)


def _assemble(image: NDArray[np.uint8], codes: NDArray[np.uint8], plans: list[Plan], light: str) -> Scene:
    first = len(STUFF)
    instances = np.where(codes >= first, codes - first + 1, 0).astype(np.uint8)
    table = np.arange(first + len(plans), dtype=np.uint8)
    table[first:] = [CATEGORIES.index(plan.name) for plan in plans]
    slivers = np.bincount(codes.ravel(), minlength=first)[:first] < least_visible(len(image))
    table[:first][slivers] = VOID
    things = tuple(Thing.measure(p.name, p.colour, instances == k + 1) for k, p in enumerate(plans))
    return Scene(image, table[codes], instances, things, light)
