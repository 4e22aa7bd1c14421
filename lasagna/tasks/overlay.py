"""Masks laid over an image: a tint inside and a crisp line around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.dialogue import AnsweredEntry
from lasagna.core.masks import BoolMask
from lasagna.tasks.colours import RGB

_TINT = 0.4
_RIM_SHADE = 0.25


def overlay(
    image: NDArray[np.uint8], entries: Sequence[AnsweredEntry], colours: Mapping[str, RGB], *, side: int
) -> Image.Image:
    """Lay the masks of an answer over its image, the smaller ones on top.

    Args:
        image: uint8 ``[H, W, 3]``.
        entries: The answer; entries without a mask are not drawn.
        colours: Colour of each name.
        side: Pixels of the longer side of the picture.
    """
    picture = np.asarray(scaled(image, side)).astype(np.float32)
    drawn = [entry for entry in entries if entry.present and entry.mask is not None]
    for entry in sorted(drawn, key=_area, reverse=True):
        assert entry.mask is not None
        _paint(picture, _scaled_mask(entry.mask, picture.shape[:2]), colours[entry.name], _line_width(side))
    return Image.fromarray(picture.round().astype(np.uint8))


def scaled(image: NDArray[np.uint8], side: int) -> Image.Image:
    """Return an image with a longer side of ``side`` pixels."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    picture = Image.fromarray(image)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


def _area(entry: AnsweredEntry) -> int:
    return 0 if entry.mask is None else int(np.count_nonzero(entry.mask))


def _scaled_mask(mask: BoolMask, shape: tuple[int, ...]) -> BoolMask:
    if mask.shape == shape:
        return mask
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)) > 127


def _line_width(side: int) -> int:
    return max(1, round(side / 250))


def _paint(picture: NDArray[np.float32], mask: BoolMask, colour: RGB, width: int) -> None:
    inner = _eroded(mask, width)
    outer = ~_eroded(~mask, max(1, width // 2)) & ~mask
    paint = np.asarray(colour, dtype=np.float32)
    picture[inner] += _TINT * (paint - picture[inner])
    picture[mask & ~inner] = paint
    picture[outer] *= _RIM_SHADE


def _eroded(mask: BoolMask, width: int) -> BoolMask:
    """Return the pixels that are ``width`` steps inside; the picture's border does not count as an edge."""
    for _ in range(width):
        padded = np.pad(mask, 1, mode="edge")
        mask = mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask
