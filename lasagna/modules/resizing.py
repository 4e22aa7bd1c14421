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
        size: Height and width of the result.
    """
    if image.shape[:2] == size:
        return image
    if all(map(_has_exact_weights, image.shape[:2], size)):
        return _resize_by_torch(image, size)
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _resize_by_torch(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    channels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = np.empty((*size, 3), np.uint8)
    # the operator below `interpolate`, which makes a tensor of its own with the channels apart, in more than twice the
    # time. Should a later torch change the operator, `tests/modules/test_resizing.py` will tell
    torch.ops.aten._upsample_bilinear2d_aa.out(
        channels, size, align_corners=False, out=torch.from_numpy(resized).permute(2, 0, 1)[None]
    )
    return resized


def _has_exact_weights(length: int, resized: int) -> bool:
    """Say whether a side grows by a factor for which each resized pixel lies at a multiple of 1 / (2 FINEST)."""
    return length <= resized and FINEST * length % resized == 0
