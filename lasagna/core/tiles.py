"""Tiles of pictures that are too large to be seen at once: where they lie, and which part of each one decides.

Notation: H, W: height and width of the picture in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from lasagna.errors import ConfigError


@dataclass(frozen=True)
class Tile:
    """A rectangle of a picture, in pixels.

    Args:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to cut the tile out of an array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def common(self, other: Tile) -> Tile | None:
        """Return the part that lies in both, or None if there is none."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.height, other.top + other.height)
        right = min(self.left + self.width, other.left + other.width)
        return Tile(top, left, bottom - top, right - left) if bottom > top and right > left else None


def chosen_tiles(size: int | None, overlap: int | None, batch: int = 1) -> Tiles | None:
    """Return the tiles of a command line, or None if there are none.

    Args:
        size: Height and width of a tile, or None.
        overlap: Pixels that neighbours have in common, or None for an eighth of a tile.
        batch: Tiles that are answered together.

    Raises:
        ConfigError: If there is only an overlap, or the two do not go together.
    """
    if size is None:
        if overlap is not None:
            raise ConfigError(
                f"overlap: got {overlap}, but the picture is not divided; give --tiles too, or leave it out"
            )
        return None
    return Tiles(size, size // 8 if overlap is None else overlap, batch)


@dataclass(frozen=True)
class Tiles:
    """How a picture is divided into tiles that overlap.

    All tiles have the same size. The last ones of a row or a column end at the picture's border, so that they overlap
    more. A side of the picture that is shorter than a tile is not divided.

    Args:
        size: Height and width of a tile in pixels.
        overlap: Pixels that neighbours have in common, at least.
        batch: Tiles that are answered together.

    Raises:
        ConfigError: If the size or the batch is not positive, or the overlap is not smaller than the size.
    """

    size: int = 1024
    overlap: int = 128
    batch: int = 1

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.size < 1:
            raise ConfigError(f"tiles: a tile has at least 1 pixel a side, got {self.size}; usual are 512 to 1024")
        if not 0 <= self.overlap < self.size:
            raise ConfigError(
                f"overlap: expected 0 to {self.size - 1}, less than the tile's side of {self.size} pixels, got "
                f"{self.overlap}; give a smaller overlap or larger tiles"
            )
        if self.batch < 1:
            raise ConfigError(f"batch: expected at least 1 tile at a time, got {self.batch}")

    def of(self, size: tuple[int, int]) -> list[Tile]:
        """Return the tiles of a picture, row by row.

        Args:
            size: Height and width of the picture.
        """
        rows, columns = (self._firsts(side) for side in size)
        height, width = (min(self.size, side) for side in size)
        return [Tile(top, left, height, width) for top in rows for left in columns]

    def cores(self, size: tuple[int, int]) -> list[Tile]:
        """Return for each tile the pixels that lie nearest to its middle; these parts cover the picture once.

        Args:
            size: Height and width of the picture.
        """
        rows, columns = (self._parts(side) for side in size)
        return [Tile(top, left, below - top, right - left) for top, below in rows for left, right in columns]

    def _firsts(self, side: int) -> list[int]:
        """Return the first pixels of the tiles along a side."""
        last = max(0, side - self.size)
        return [*range(0, last, self.size - self.overlap), last]

    def _parts(self, side: int) -> list[tuple[int, int]]:
        """Return begin and end of the part of each tile along a side; neighbours meet amid their overlap."""
        firsts = self._firsts(side)
        middles = [(first + self.size + following) // 2 for first, following in pairwise(firsts)]
        return list(pairwise([0, *middles, side]))
