"""Which of some overlapping masks lies on top, pixel by pixel, and never a stack of all masks.

Notation: H, W: height and width of the image in pixels; h, w: those of a box in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lasagna.core.masks import BoolMask

_RANK_BITS = 32
_LAST_RANK = (1 << _RANK_BITS) - 1


class OverlapMap:
    """For each pixel the mask of the highest priority that covers it, of equals the one of the lowest rank.

    A pixel keeps one number: its highest priority, and below that, so that lower ranks are more, the rank. So masks can
    come in any order, and each costs no more than the box that it fills.

    Args:
        size: Height and width in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._keys = np.zeros(size, dtype=np.int64)

    def add(self, rank: int, mask: BoolMask, probability: NDArray[np.floating] | float) -> None:
        """Put a mask among the others; the more probable lies in front.

        Args:
            rank: Number of the mask, from 0 to below 2 ** 32 - 1.
            mask: Bool ``[H, W]``.
            probability: Not negative; float ``[H, W]``, or one number for all pixels. Compared in single precision.
        """
        box = _box(mask)
        # of numbers that are not negative, the bits are ordered as they are
        within = np.float32(probability) if isinstance(probability, float) else _single(probability[box])
        self._put(rank, mask, box, within.view(np.int32).astype(np.int64))

    def add_whole(self, rank: int, mask: BoolMask, priority: int) -> None:
        """Put a mask among the others that lies in front of all of lower priority.

        Args:
            rank: Number of the mask, from 0 to below 2 ** 32 - 1.
            mask: Bool ``[H, W]``.
            priority: From 0 to below 2 ** 31.
        """
        self._put(rank, mask, _box(mask), np.int64(priority))

    def ranks(self) -> NDArray[np.int64]:
        """Return the rank of the mask on top, int64 ``[H, W]``; -1 where there is none."""
        ranks = _LAST_RANK - (self._keys & _LAST_RANK)
        ranks[self._keys == 0] = -1
        return ranks

    def labels(self, of_rank: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return a label for each pixel, int32 ``[H, W]``.

        Args:
            of_rank: The label of each rank, and at the end that of pixels without a mask, int32.
        """
        return np.asarray(of_rank[self.ranks()])

    def joined(self, other: OverlapMap, first: int) -> OverlapMap:
        """Return what comes of the masks of both.

        Args:
            other: Further masks.
            first: What is added to their ranks.
        """
        both = OverlapMap(self.size)
        later = np.where(other._keys == 0, 0, other._keys - first)
        np.maximum(self._keys, later, out=both._keys)
        return both

    def _put(self, rank: int, mask: BoolMask, box: tuple[slice, slice], priority: NDArray[np.int64] | np.int64) -> None:
        keys = priority  # in place, where it is an array
        keys <<= _RANK_BITS
        keys |= _LAST_RANK - rank
        keys *= mask[box]  # [h, w]
        np.maximum(self._keys[box], keys, out=self._keys[box])


def _single(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return numbers in single precision; PyTorch converts half precision ten times as fast as NumPy."""
    import torch  # here, so that what only reads and writes records starts without it

    return np.asarray(torch.from_numpy(np.ascontiguousarray(values)).float().numpy())


def _box(mask: BoolMask) -> tuple[slice, slice]:
    """Return the rows and columns that a mask fills."""
    pixels = mask.tobytes()
    first, last = pixels.find(1), pixels.rfind(1)
    if first < 0:
        return slice(0), slice(0)
    rows = slice(first // mask.shape[1], last // mask.shape[1] + 1)
    columns = np.flatnonzero(mask[rows].any(0))
    return rows, slice(int(columns[0]), int(columns[-1]) + 1)
