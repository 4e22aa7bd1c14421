"""The geometry of images in a vision encoder's input, and the way of masks there and back.

Notation: h, w: size of the image in pixels; H, W: the vision encoder's input size; n: masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lasagna.core.masks import BoolMask

IGNORE_PIXEL = 255
"""Value of pixels in mask targets that count in no loss."""

UNSEEN_LOGIT = -100.0
"""Mask logit of pixels outside the vision encoder's input, which belong to no mask."""


@dataclass(frozen=True)
class Geometry:
    """The geometry of an image in the vision encoder's input: resized, then padded at the right and the bottom.

    Args:
        original: Height and width of the original image.
        resized: Height and width of its part of the input.
        padded: Height and width of the input.
        seen: Top, left, height and width of the crop that the input shows, in pixels of the image; None for the
            complete image.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]
    seen: tuple[int, int, int, int] | None = None

    @property
    def shown(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the input shows."""
        top, left, height, width = self.seen or (0, 0, *self.original)
        return slice(top, top + height), slice(left, left + width)

    @property
    def shown_size(self) -> tuple[int, int]:
        """Height and width of the part of the image that the input shows, in pixels of the image."""
        return self.original if self.seen is None else self.seen[2:]


def fit_mask(mask: BoolMask, geometry: Geometry, ignored: BoolMask | None = None) -> Tensor:
    """Fit a mask into the encoder's geometry by nearest neighbour; one that is too small to be met keeps a pixel.

    Args:
        mask: Bool ``[h, w]`` of the image's own size.
        geometry: The image's geometry.
        ignored: Pixels that the mask ignores, bool ``[h, w]``.

    Returns:
        uint8 ``[H, W]`` with 0, 1, and ``IGNORE_PIXEL`` for ignored pixels and in the padding.
    """
    pixels = mask.astype(np.uint8)
    if ignored is not None:
        pixels[ignored] = IGNORE_PIXEL
    shown = torch.from_numpy(np.ascontiguousarray(pixels[geometry.shown]))
    if geometry.resized != geometry.shown_size:
        shown = torch.nn.functional.interpolate(shown[None, None], size=geometry.resized, mode="nearest-exact")[0, 0]
    cell = None if (shown == 1).any() else cell_of(pixels == 1, geometry)
    target = torch.full(geometry.padded, IGNORE_PIXEL, dtype=torch.uint8)
    target[: geometry.resized[0], : geometry.resized[1]] = shown
    if cell is not None:
        target[cell] = 1
    return target


def cell_of(mask: BoolMask, geometry: Geometry) -> tuple[int, int] | None:
    """Return row and column of the input's pixel that shows the middle one of a mask's pixels.

    Args:
        mask: Bool ``[h, w]`` of the image's own size.
        geometry: The image's geometry.

    Returns:
        The pixel of the input, or None if the input shows no pixel of the mask.
    """
    found = np.argwhere(mask[geometry.shown])
    if not len(found):
        return None
    row, column = (
        int((2 * int(place) + 1) * resized // (2 * shown))
        for place, resized, shown in zip(found[len(found) // 2], geometry.resized, geometry.shown_size, strict=True)
    )
    return row, column


def restore_logits(logits: Tensor, geometry: Geometry) -> Tensor:
    """Resize mask logits from the encoder's geometry to the image's own size.

    Args:
        logits: Float ``[n, h', w']`` of any resolution, covering the padded input.
        geometry: The image's geometry.

    Returns:
        Float ``[n, h, w]`` of the image's own size; ``UNSEEN_LOGIT`` where the input does not show it.
    """
    padded = _resize(logits, geometry.padded)
    shown = _resize(padded[:, : geometry.resized[0], : geometry.resized[1]], geometry.shown_size)
    if geometry.seen is None:
        return shown
    whole = shown.new_full((len(shown), *geometry.original), UNSEEN_LOGIT)
    whole[:, *geometry.shown] = shown
    return whole


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return torch.nn.functional.interpolate(logits[:, None].float(), size=size, mode="bilinear")[:, 0]
