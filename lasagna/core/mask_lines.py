"""Masks as vertical lines of pixels: cut, moved and joined without their pixels, whatever the size of the picture.

Notation: k: lines; H, W: height and width of the picture in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from lasagna.core.masks import RLEMask, run_lengths
from lasagna.core.tiles import Tile

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MaskLines:
    """The pixels of a mask as lines within columns; lines may overlap.

    Args:
        columns: Column of each line, ``[k]``.
        tops: Its first row, ``[k]``.
        ends: The row behind its last one, ``[k]``.
    """

    columns: Places
    tops: Places
    ends: Places

    @classmethod
    def of(cls, mask: RLEMask) -> MaskLines:
        """Return the lines of a mask."""
        height = mask.height
        borders = np.cumsum(run_lengths(mask.counts.encode("ascii")))
        # runs alternate between pixels outside and inside, beginning outside; some may be empty
        starts, stops = borders[: len(borders) // 2 * 2].reshape(-1, 2).T
        starts, stops = starts[stops > starts], stops[stops > starts]
        first, last = starts // height, (stops - 1) // height
        counts = last - first + 1
        owners = np.repeat(np.arange(len(starts)), counts)
        steps = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        tops = np.where(steps == 0, starts[owners] % height, 0)
        ends = np.where(steps == counts[owners] - 1, (stops[owners] - 1) % height + 1, height)
        return cls(first[owners] + steps, tops, ends)

    @property
    def area(self) -> int:
        """Number of pixels, where no lines overlap."""
        return int((self.ends - self.tops).sum())

    def within(self, tile: Tile) -> MaskLines:
        """Return the pixels that lie in a rectangle, at the same places."""
        tops = self.tops.clip(min=tile.top)
        ends = self.ends.clip(max=tile.top + tile.height)
        kept = (self.columns >= tile.left) & (self.columns < tile.left + tile.width) & (ends > tops)
        return MaskLines(self.columns[kept], tops[kept], ends[kept])

    def moved(self, rows: int, columns: int) -> MaskLines:
        """Return the pixels moved by numbers of rows and columns."""
        return MaskLines(self.columns + columns, self.tops + rows, self.ends + rows)

    def shrunk(self, step: int) -> MaskLines:
        """Return the pixels of a picture of which each shows a square of pixels, if one of these is in the mask.

        Args:
            step: Side of the squares.
        """
        return MaskLines(self.columns // step, self.tops // step, (self.ends - 1) // step + 1)

    def mask(self, size: tuple[int, int]) -> RLEMask:
        """Return the pixels as a mask.

        Args:
            size: Height and width of the picture, in which all lines lie.
        """
        height, width = size
        order = np.argsort(self.columns * height + self.tops, kind="stable")
        starts, stops = ((self.columns * height + rows)[order] for rows in (self.tops, self.ends))
        # a line begins anew only behind all lines before it
        reached = np.maximum.accumulate(stops) if len(stops) else stops
        new = np.concatenate([[True], starts[1:] > reached[:-1]]) if len(starts) else np.zeros(0, bool)
        firsts = np.flatnonzero(new)
        lasts = np.append(firsts[1:], len(starts)) - 1
        borders = np.stack([starts[firsts], reached[lasts]], axis=1).ravel() if len(firsts) else starts
        runs = np.diff(np.concatenate([[0], borders, [height * width]]))
        runs = runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs
        code = coco.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)
        return RLEMask(height, width, code["counts"].decode("ascii"))


def join_lines(parts: Sequence[MaskLines], size: tuple[int, int]) -> RLEMask:
    """Return the mask of all pixels that lie in one of several sets of lines.

    Args:
        parts: The sets.
        size: Height and width of the picture.
    """
    none = MaskLines(*np.zeros((3, 0), np.int64))
    columns, tops, ends = (
        np.concatenate([getattr(part, field) for part in (none, *parts)]) for field in ("columns", "tops", "ends")
    )
    return MaskLines(columns, tops, ends).mask(size)


def cut_mask(mask: RLEMask, tile: Tile) -> RLEMask:
    """Return the part of a mask in a tile, in the size of the tile."""
    return MaskLines.of(mask).within(tile).moved(-tile.top, -tile.left).mask(tile.size)


def place_mask(mask: RLEMask, tile: Tile, size: tuple[int, int]) -> RLEMask:
    """Return a mask of a tile in the size of its picture.

    Args:
        mask: The mask, in the size of the tile.
        tile: Where the tile lies.
        size: Height and width of the picture.
    """
    return MaskLines.of(mask).moved(tile.top, tile.left).mask(size)
