"""Colours for names: distinct within a picture, and the same for a name wherever it appears."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from lasagna.core.prompt_format import normalise

RGB = tuple[int, int, int]

PALETTE_SIZE = 32
"""Number of colours that are told apart; more names than that share them."""

_STEPS = 9
_DARKEST, _LIGHTEST, _GREYEST = 0.5, 0.88, 0.1


def name_colours(names: Iterable[str]) -> dict[str, RGB]:
    """Give each name a colour.

    A name has a place of its own in the palette. Where two names of one call want the same place, the later one takes
    the next free place, so that no two names look alike while there are colours left.

    Args:
        names: The names, compared as queries compare them.

    Returns:
        Red, green and blue in [0, 255] for each name.
    """
    spelled = {name: normalise(name) for name in names}
    places: dict[str, int] = {}
    for name in spelled.values():
        if name not in places:
            places[name] = _free_place(_own_place(name), set(places.values()))
    return {name: palette()[places[plain]] for name, plain in spelled.items()}


def _own_place(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") % PALETTE_SIZE


def _free_place(place: int, taken: set[int]) -> int:
    candidates = ((place + step) % PALETTE_SIZE for step in range(PALETTE_SIZE))
    return next((candidate for candidate in candidates if candidate not in taken), place)


@cache
def palette() -> tuple[RGB, ...]:
    """Return colours of which each is as far as possible from all before it, in OKLab.

    Very dark, very light and greyish ones are left out: they would be lost on photographs and on paper.
    """
    levels = np.linspace(0, 255, _STEPS).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(candidates / 255)
    vivid = (lab[:, 0] > _DARKEST) & (lab[:, 0] < _LIGHTEST) & (np.hypot(lab[:, 1], lab[:, 2]) > _GREYEST)
    candidates, lab = candidates[vivid], lab[vivid]
    chosen = [int(np.argmax(lab[:, 1]))]
    distance = np.full(len(lab), np.inf)
    while len(chosen) < PALETTE_SIZE:
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return tuple((int(red), int(green), int(blue)) for red, green, blue in candidates[chosen])


def _oklab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert sRGB in [0, 1] to OKLab (Björn Ottosson, 2020), ``[n, 3]`` both."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(np.cbrt(linear @ to_cones.T) @ to_lab.T)
