"""The order of overlapping masks: which one lies on top at each pixel, without a stack of all masks in memory.

Notation: H, W: height and width of the image in pixels; h, w: those of a box in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lasagna.core.masks import BoolMask

_RANK_BITS = 31
_LAST_RANK = (1 << _RANK_BITS) - 1
_AT_ONCE = 1 << 22
"""Pixels that are compared at a time, since each takes 8 bytes more meanwhile."""


class OverlapMap:
    """For each pixel, the mask of the highest priority that covers it; among equals, the one of the lowest rank.

    Each pixel stores one number, with the priority in its high bits and the inverted rank in its low bits, and keeps
    the maximum; 0 means that no mask covers it. So masks can be added in any order, and each costs only the time of its
    bounding box.

    Args:
        size: Height and width in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._keys = np.zeros(size, dtype=np.int64)

    def add(self, rank: int, mask: BoolMask, evidence: NDArray[np.floating] | float) -> None:
        """Add a mask; at each pixel the mask with the strongest evidence lies on top.

        Args:
            rank: Number of the mask, from 0 to below 2 ** 31 - 1.
            mask: Bool ``[H, W]``.
            evidence: Float ``[H, W]`` such as logits, or one number for all pixels; compared in single precision.
        """
        box = _box(mask)
        within = np.float32(evidence) if isinstance(evidence, float) else _single(evidence[box])
        self._put(rank, mask, box, _in_order(within.view(np.int32)))

    def add_whole(self, rank: int, mask: BoolMask, priority: int) -> None:
        """Add a mask that lies on top of all masks of lower priority.

        Args:
            rank: Number of the mask, from 0 to below 2 ** 31 - 1.
            mask: Bool ``[H, W]``.
            priority: From 0 to below 2 ** 31.
        """
        self._put(rank, mask, _box(mask), np.int64(priority))

    def ranks(self) -> NDArray[np.int64]:
        """Return the rank of the mask on top, int64 ``[H, W]``; -1 where no mask covers the pixel."""
        return _ranks(self._keys)

    def labels(self, of_rank: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return a label for each pixel, int32 ``[H, W]``.

        Args:
            of_rank: Label of each rank, followed by the label of pixels without a mask, int32.
        """
        labels = np.empty(self.size, dtype=of_rank.dtype)
        rows = max(1, _AT_ONCE // max(1, self.size[1]))
        for first in range(0, self.size[0], rows):
            labels[first : first + rows] = of_rank[_ranks(self._keys[first : first + rows])]
        return labels

    def joined(self, other: OverlapMap, first: int) -> OverlapMap:
        """Return the map of the masks of both.

        Args:
            other: A map of further masks, of the same size.
            first: Offset that is added to their ranks.
        """
        both = OverlapMap(self.size)
        later = np.where(other._keys == 0, 0, other._keys - first)
        np.maximum(self._keys, later, out=both._keys)
        return both

    def renumbered(self, ranks: NDArray[np.int64]) -> OverlapMap:
        """Return the map with other ranks for its masks.

        Args:
            ranks: New rank of each present one, int64.
        """
        other, covered = OverlapMap(self.size), self._keys != 0
        keys = self._keys[covered]
        other._keys[covered] = (keys | _LAST_RANK) - ranks[_LAST_RANK - (keys & _LAST_RANK)]
        return other

    def _put(self, rank: int, mask: BoolMask, box: tuple[slice, slice], priority: NDArray[np.int64] | np.int64) -> None:
        rows, columns = box
        step = max(1, _AT_ONCE // max(1, columns.stop - (columns.start or 0)))
        for first in range(rows.start or 0, rows.stop, step):
            part = slice(first, min(first + step, rows.stop)), columns
            keys = (
                priority if isinstance(priority, np.int64) else priority[first - rows.start : part[0].stop - rows.start]
            )
            keys <<= _RANK_BITS  # an array is changed in place
            keys |= _LAST_RANK - rank
            keys *= mask[part]  # [h, w]
            np.maximum(self._keys[part], keys, out=self._keys[part])


def _ranks(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the ranks in keys; -1 where no mask covers the pixel."""
    ranks = keys & _LAST_RANK
    np.subtract(_LAST_RANK, ranks, out=ranks)
    ranks[keys == 0] = -1
    return ranks


def _in_order(bits: NDArray[np.int32] | np.int32) -> NDArray[np.int64] | np.int64:
    """Return whole numbers of at least 0 in the order of the floats with these bits.

    The bits of positive floats have the order of the floats, those of negative ones the inverse order.
    """
    in_order = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)
    in_order += 1 << 31
    return in_order


def _single(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return numbers in single precision; PyTorch converts half precision ten times as fast as NumPy."""
    import torch  # here, so that what only reads and writes records starts without it

    return np.asarray(torch.from_numpy(np.ascontiguousarray(values)).float().numpy())


def _box(mask: BoolMask) -> tuple[slice, slice]:
    """Return the rows and columns of a mask's bounding box."""
    pixels = mask.tobytes()
    first, last = pixels.find(1), pixels.rfind(1)
    if first < 0:
        return slice(0), slice(0)
    rows = slice(first // mask.shape[1], last // mask.shape[1] + 1)
    columns = np.flatnonzero(mask[rows].any(0))
    return rows, slice(int(columns[0]), int(columns[-1]) + 1)
