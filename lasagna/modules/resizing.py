"""Bilinear resizing of photographs, to the bit as Pillow does it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

FINEST = 1 << 12
"""Weights that are multiples of one in twice this number fit the fixed-point numbers of torch, which have 14 bits."""


def resize_bilinear(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image, smoothed where it is made smaller.

    Pillow's pixels are what weights were trained on. Torch is several times as fast, and the same wherever fixed-point
    numbers hold the weights exactly: both then compute one rounded sum along each row, and one along each column.

    Args:
        image: uint8 ``[h, w, 3]``.
        size: Height and width of the result, whose channels may lie apart in memory.
    """
    if image.shape[:2] == size:
        return image
    if all(map(_has_exact_weights, image.shape[:2], size)):
        channels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
        resized = torch.nn.functional.interpolate(channels, size=size, mode="bilinear", antialias=True)
        return resized[0].permute(1, 2, 0).numpy()
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _has_exact_weights(length: int, resized: int) -> bool:
    """Say whether a side grows by a factor for which each resized pixel lies at a multiple of 1 / (2 FINEST)."""
    return length <= resized and FINEST * length % resized == 0
