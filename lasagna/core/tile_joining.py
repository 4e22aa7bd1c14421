"""Joining the answers about the tiles of a picture: masks over the overlaps, objects over the borders, presence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from pycocotools import mask as coco

from lasagna.core.answer import Answer
from lasagna.core.mask_lines import MaskLines, cut_mask, join_lines
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.tiled_answers import PackedEntry, TiledAnswer
from lasagna.core.tiles import Tile, Tiles
from lasagna.errors import QueryError

if TYPE_CHECKING:
    from lasagna.core.batch import Query

SAME = 0.5
"""IoU within the overlap of two tiles from which two objects are one."""


def check_tiled(queries: Sequence[Query], images: int = 1) -> None:
    """Check that the answers to queries about tiles can be joined.

    Args:
        queries: The queries.
        images: Number of images that are shown together.

    Raises:
        QueryError: If there are several images, words would have to be joined, or something points at a place.
    """
    if images > 1:
        raise QueryError("tiles: only one image is divided into tiles; ask about one image, or without tiles")
    for query in queries:
        if query.kind.words:
            raise QueryError(
                f"tiles: the words of answers to a query of kind {query.kind} cannot be joined; ask for names or a "
                "phrase, or ask without tiles about a smaller copy of the picture"
            )
        if query.visual is not None:
            raise QueryError("tiles: points, boxes and masks are for one place; cut it out, and ask without tiles")


@dataclass(frozen=True)
class _Part:
    """What the answer about a tile says about a name; masks have the size of the tile."""

    tile: int
    score: float
    confidence: float
    mask: RLEMask | None
    visible: RLEMask | None
    objects: tuple[RLEMask, ...]
    scores: tuple[float, ...]


class TileJoiner:
    """Joins the answers to one query about the tiles of a picture.

    A name is present if it is in one of the tiles. Each pixel of its mask is taken from the tile in whose core it lies
    or, if that tile's answer calls the name absent, from the others that show the pixel. Objects of two tiles are one
    if they agree within the overlap (an IoU of at least ``SAME``), and then have all pixels of both and the higher
    score. Between calls, masks are kept as run lengths.

    Args:
        names: The names asked for, in order.
        size: Height and width of the picture.
        tiles: How it is divided.
        keep_empty: Whether a name whose joined mask has no pixel stays present.
        apart: Whether the answers tell objects apart.
    """

    def __init__(
        self,
        names: Sequence[str],
        size: tuple[int, int],
        tiles: Tiles,
        keep_empty: bool = True,
        apart: bool = False,
    ) -> None:
        self.names = tuple(names)
        self.size = size
        self.tiles = tiles.of(size)
        self.keep_empty = keep_empty
        self.apart = apart
        self._cores = tiles.cores(size)
        self._near = _overlaps(self.tiles, self._cores)
        self._parts: dict[str, list[_Part]] = {}
        self._faults: dict[str, None] = {}

    def add(self, tile: int, answer: Answer) -> None:
        """Add the answer about a tile.

        Args:
            tile: Number of the tile.
            answer: The answer, with masks in the tile's size.
        """
        self._faults.update(dict.fromkeys(answer.faults))
        for entry, visible in zip(answer.entries, _visible(answer), strict=True):
            apart = entry.present and self.apart
            part = _Part(
                tile,
                entry.score,
                entry.confidence,
                None if entry.mask is None else RLEMask.from_array(entry.mask),
                None if visible is None else RLEMask.from_array(visible),
                tuple(RLEMask.from_array(mask) for mask in entry.masks) if apart else (),
                entry.scores if apart else (),
            )
            self._parts.setdefault(entry.name, []).append(part)

    def answer(self) -> TiledAnswer:
        """Return the answer about the picture."""
        # names that a free answer brings along come last
        names = [name for name in dict.fromkeys((*self.names, *self._parts)) if name in self._parts]
        entries = tuple(self._entry(name, self._parts[name]) for name in names)
        total = len(self.tiles)
        words = [f"{entry.name}: in {len(entry.present_tiles) or 'none'} of {total} tiles" for entry in entries]
        return TiledAnswer(", ".join(words), entries, tuple(self._faults), size=self.size, tiles=tuple(self.tiles))

    def _entry(self, name: str, parts: Sequence[_Part]) -> PackedEntry:
        scores = np.full(len(self.tiles), math.nan)
        scores[[part.tile for part in parts]] = [part.score for part in parts]
        tile_scores = tuple(scores.tolist())
        found = [part for part in parts if part.mask is not None]
        score = max(part.score for part in found or parts)
        objects = self._objects(found)
        if objects:
            mask = join_lines([MaskLines.of(each) for each, _ in objects], self.size)
        else:
            mask = self._joined([(part.tile, part.mask) for part in found])
        if not found or not (self.keep_empty or mask.any()):
            return PackedEntry(name, score, None, tile_scores=tile_scores)
        covered = any(part.visible is not None for part in found)
        visible = self._joined([(part.tile, part.visible or part.mask) for part in found]) if covered else None
        return PackedEntry(
            name,
            score,
            mask,
            _confidence(found),
            visible=visible,
            objects=[each for each, _ in objects],
            object_scores=[certain for _, certain in objects],
            tile_scores=tile_scores,
            present_tiles=[part.tile for part in found],
        )

    def _joined(self, masks: Sequence[tuple[int, RLEMask | None]]) -> RLEMask:
        """Join the masks of tiles, each in the cores of its own tile and of those without a mask."""
        present = {tile for tile, _ in masks}
        lines = []
        for tile, mask in masks:
            assert mask is not None
            placed = MaskLines.of(mask).moved(self.tiles[tile].top, self.tiles[tile].left)
            cores = [self._cores[other] for other in self._near[tile] if other == tile or other not in present]
            lines += [placed.within(core) for core in cores]
        return join_lines(lines, self.size)

    def _objects(self, parts: Sequence[_Part]) -> list[tuple[RLEMask, float]]:
        """Return the objects with their scores, the highest score first."""
        found = [
            (part.tile, mask, score) for part in parts for mask, score in zip(part.objects, part.scores, strict=True)
        ]
        groups = {rank: [each] for rank, each in enumerate(found)}
        owner = list(groups)
        for one, other in self._same(found):
            first, second = sorted((owner[one], owner[other]))
            if first != second:
                groups[first] += groups.pop(second)
                owner = [first if number == second else number for number in owner]
        joined = []
        for members in groups.values():
            lines = [MaskLines.of(mask).moved(self.tiles[tile].top, self.tiles[tile].left) for tile, mask, _ in members]
            joined.append((join_lines(lines, self.size), max(score for _, _, score in members)))
        return sorted(joined, key=lambda each: -each[1])

    def _same(self, found: Sequence[tuple[int, RLEMask, float]]) -> Iterator[tuple[int, int]]:
        """Yield the pairs of objects of different tiles that are one object."""
        of_tile: dict[int, list[int]] = {}
        for rank, (tile, _, _) in enumerate(found):
            of_tile.setdefault(tile, []).append(rank)
        for here, there in combinations(of_tile, 2):
            both = self.tiles[here].common(self.tiles[there])
            if both is None:
                continue
            first, second = (
                [(rank, cut) for rank in of_tile[tile] if (cut := self._cut(tile, found[rank][1], both)).any()]
                for tile in (here, there)
            )
            if first and second:
                shares = coco.iou(
                    [cut.to_json() for _, cut in first], [cut.to_json() for _, cut in second], [0] * len(second)
                )
                yield from ((first[row][0], second[column][0]) for row, column in np.argwhere(shares >= SAME).tolist())

    def _cut(self, tile: int, mask: RLEMask, part: Tile) -> RLEMask:
        """Return the part of a tile's mask that lies in a rectangle of the picture."""
        own = self.tiles[tile]
        return cut_mask(mask, Tile(part.top - own.top, part.left - own.left, part.height, part.width))


def _overlaps(tiles: Sequence[Tile], cores: Sequence[Tile]) -> list[list[int]]:
    """Return for each tile the numbers of the tiles whose cores it shows."""
    tops, lefts, heights, widths = np.array([(core.top, core.left, *core.size) for core in cores]).T
    near = []
    for tile in tiles:
        rows = (tops < tile.top + tile.height) & (tops + heights > tile.top)
        near.append(np.flatnonzero(rows & (lefts < tile.left + tile.width) & (lefts + widths > tile.left)).tolist())
    return near


def _visible(answer: Answer) -> list[BoolMask | None]:
    """Return for each entry the pixels at which its mask lies on top, or None if these are all of its pixels."""
    masks = [entry.mask for entry in answer.entries]
    if answer.top is None or sum(mask is not None for mask in masks) < 2:
        return [None] * len(masks)
    ranks = answer.top.ranks()
    on_top = [None if mask is None else mask & (ranks == rank) for rank, mask in enumerate(masks)]
    return [
        None if seen is None or mask is None or np.array_equal(seen, mask) else seen
        for seen, mask in zip(on_top, masks, strict=True)
    ]


def _confidence(parts: Sequence[_Part]) -> float:
    """Return the mean confidence of tiles, weighted by the pixels of their masks."""
    areas = [0 if part.mask is None else int(coco.area(part.mask.to_json())) for part in parts]
    total = sum(areas)
    return sum(part.confidence * area for part, area in zip(parts, areas, strict=True)) / total if total else 0.0
