"""Normalisation of pixels by tables: a byte has 256 values, so that each is computed once.

The numbers are those of computing with every pixel, to the bit, at a fraction of the time and without copies between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """What becomes of the bytes of an image.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        unit: Whether bytes are brought to [0, 1] before.
        double: Whether that is done by multiplying in double precision, as transformers does, or by dividing.
    """

    mean: Channels
    std: Channels
    unit: bool = True
    double: bool = False

    @property
    def tables(self) -> NDArray[np.float32]:
        """What each byte becomes in each channel, float32 ``[3, 256]``."""
        return _tables(self)


@lru_cache(maxsize=16)
def _tables(rule: Normalisation) -> NDArray[np.float32]:
    values: NDArray[np.float32]
    if not rule.unit:
        values = np.arange(256, dtype=np.float32)
    elif rule.double:
        values = (np.arange(256, dtype=np.uint8) * (1 / 255)).astype(np.float32)
    else:
        values = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = (np.array(channels, dtype=np.float32)[:, None] for channels in (rule.mean, rule.std))
    return (values[None] - mean) / std
