"""Masks over an image, and colours for names: distinct within an image, and the same wherever a name appears."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.answer import AnsweredEntry
from lasagna.core.answer_display import shades
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise

RGB = tuple[int, int, int]

PALETTE_SIZE = 32
"""Number of distinct colours; more names than that share colours."""

_STEPS = 9
_DARKEST, _LIGHTEST, _GREYEST = 0.5, 0.88, 0.1


def name_colours(names: Iterable[str]) -> dict[str, RGB]:
    """Give each name a colour.

    Each name has a fixed place in the palette. If two names of one call have the same place, the later one takes the
    next free place, so that names share a colour only if there are more names than colours.

    Args:
        names: The names, normalised as those of queries.

    Returns:
        Red, green and blue in [0, 255] for each name.
    """
    spelled = {name: normalise(name) for name in names}
    places: dict[str, int] = {}
    for name in spelled.values():
        if name not in places:
            own = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") % PALETTE_SIZE
            candidates = ((own + step) % PALETTE_SIZE for step in range(PALETTE_SIZE))
            places[name] = next((place for place in candidates if place not in places.values()), own)
    return {name: palette()[places[plain]] for name, plain in spelled.items()}


@cache
def palette() -> tuple[RGB, ...]:
    """Return colours, each as far as possible from all before it in OKLab.

    Very dark, very light and greyish colours are left out, since they are hard to see on photographs and on paper.
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


_TINT = 0.4
_RIM_SHADE = 0.25


def overlay(
    image: NDArray[np.uint8], entries: Sequence[AnsweredEntry], colours: Mapping[str, RGB], *, side: int
) -> Image.Image:
    """Draw the masks of an answer over its image, smaller ones on top; objects of a name have shades of its colour.

    Args:
        image: uint8 ``[H, W, 3]``.
        entries: The entries of the answer; those without a mask are not drawn.
        colours: Colour of each name.
        side: Longer side of the result in pixels.
    """
    picture = np.asarray(scaled(image, side)).astype(np.float32)
    drawn = [
        (shade, mask)
        for entry in entries
        if entry.present and entry.mask is not None
        for shade, mask in _shaded(entry, colours[entry.name])
    ]
    width = max(1, round(side / 250))
    for shade, mask in sorted(drawn, key=lambda item: np.count_nonzero(item[1]), reverse=True):
        _paint(picture, _scaled_mask(mask, picture.shape[:2]), shade, width)
    return Image.fromarray(picture.round().astype(np.uint8))


def _shaded(entry: AnsweredEntry, colour: RGB) -> list[tuple[tuple[float, ...], BoolMask]]:
    """Return the masks to draw, each with its colour; the empty mask of a present name is one."""
    if entry.mask is None or not entry.apart:
        return [] if entry.mask is None else [(colour, entry.mask)]
    return list(zip(shades(colour, len(entry.masks), white=255), entry.masks, strict=True))


def scaled(image: NDArray[np.uint8], side: int) -> Image.Image:
    """Return an image with a longer side of ``side`` pixels."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    picture = Image.fromarray(image)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


def _scaled_mask(mask: BoolMask, shape: tuple[int, ...]) -> BoolMask:
    if mask.shape == shape:
        return mask
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)) > 127


def _paint(picture: NDArray[np.float32], mask: BoolMask, colour: tuple[float, ...], width: int) -> None:
    inner = _eroded(mask, width)
    outer = ~_eroded(~mask, max(1, width // 2)) & ~mask
    paint = np.asarray(colour, dtype=np.float32)
    picture[inner] += _TINT * (paint - picture[inner])
    picture[mask & ~inner] = paint
    picture[outer] *= _RIM_SHADE


def _eroded(mask: BoolMask, width: int) -> BoolMask:
    """Return the pixels of a mask at least ``width`` steps from its edge; the border of the image is no edge."""
    for _ in range(width):
        padded = np.pad(mask, 1, mode="edge")
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask
