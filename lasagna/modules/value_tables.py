"""Normalisation of pixels by tables: a byte has 256 values, so that each is computed once.

The numbers are those of computing with every pixel, to the bit, at a fraction of the time and without copies between.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Channels = tuple[float, float, float]


@lru_cache(maxsize=16)
def value_tables(mean: Channels, std: Channels, unit: bool, double: bool = False) -> NDArray[np.float32]:
    """Return what each byte becomes in each channel, float32 ``[3, 256]``.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        unit: Whether bytes are brought to [0, 1] before.
        double: Whether that is done by multiplying in double precision, as transformers does, or by dividing.
    """
    values: NDArray[np.float32]
    if not unit:
        values = np.arange(256, dtype=np.float32)
    elif double:
        values = (np.arange(256, dtype=np.uint8) * (1 / 255)).astype(np.float32)
    else:
        values = np.arange(256, dtype=np.float32) / np.float32(255)
    table = (torch.from_numpy(values)[None] - torch.tensor(mean)[:, None]) / torch.tensor(std)[:, None]
    return np.ascontiguousarray(table.numpy())


def look_up(image: NDArray[np.uint8], tables: NDArray[np.float32], size: tuple[int, int] | None = None) -> Tensor:
    """Return the normalised image with zeros at the right and the bottom, float ``[3, H, W]``.

    Args:
        image: uint8 ``[h, w, 3]``.
        tables: What each byte becomes, from ``value_tables``.
        size: Height and width of the result; None for those of the image.
    """
    height, width = image.shape[:2]
    result = np.empty((3, *(size or (height, width))), dtype=np.float32)
    result[:, height:] = 0
    result[:, :height, width:] = 0
    for channel in range(3):
        # every byte has a place, so that "clip" changes nothing but the time: there is no check, and no copy between
        np.take(tables[channel], image[..., channel], out=result[channel, :height, :width], mode="clip")
    return torch.from_numpy(result)
