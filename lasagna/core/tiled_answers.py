"""Answers about large pictures, joined from those about their tiles; their masks stay packed until they are read.

Notation: H, W: height and width of the picture in pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.overlaps import OverlapMap
from lasagna.core.tiles import Tile


class UnpackedMasks(Sequence[BoolMask]):
    """Packed masks as a sequence of arrays, of which each is unpacked when it is read and not kept.

    Args:
        packed: The masks.
    """

    def __init__(self, packed: Sequence[RLEMask]) -> None:
        self.packed = tuple(packed)

    @overload
    def __getitem__(self, place: int) -> BoolMask: ...
    @overload
    def __getitem__(self, place: slice) -> UnpackedMasks: ...
    def __getitem__(self, place: int | slice) -> BoolMask | UnpackedMasks:
        """Unpack one mask, or return some of the masks."""
        return UnpackedMasks(self.packed[place]) if isinstance(place, slice) else self.packed[place].decode()

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.packed)

    def __iter__(self) -> Iterator[BoolMask]:
        """Unpack one mask after the other."""
        return (mask.decode() for mask in self.packed)


class PackedEntry(AnsweredEntry):
    """One entry of an answer about a large picture.

    ``mask`` and ``masks`` are as those of any other entry, but unpacked each time they are read.

    Args:
        name: The category or phrase, spelled as in the query.
        score: Probability of presence, in [0, 1]: the highest of all tiles.
        packed: The joined mask in the picture's size, or None if the name is absent.
        confidence: Mean probability of the pixels inside the masks of the tiles.
        visible: The pixels at which this mask lies on top of those of other names; None if these are all of its pixels.
        objects: The objects where they are told apart, joined over the borders of tiles.
        object_scores: Probability of each object.
        tile_scores: Probability of presence in each tile; not a number where a tile's answer leaves the name out.
        present_tiles: Numbers of the tiles whose answers call the name present.
    """

    def __init__(
        self,
        name: str,
        score: float,
        packed: RLEMask | None,
        confidence: float = 0.0,
        *,
        visible: RLEMask | None = None,
        objects: Sequence[RLEMask] = (),
        object_scores: Sequence[float] = (),
        tile_scores: Sequence[float] = (),
        present_tiles: Sequence[int] = (),
    ) -> None:
        one = () if packed is None or objects or not packed.any() else (packed,)
        fields = {
            "name": name,
            "present": packed is not None,
            "score": score,
            "confidence": confidence,
            "packed": packed,
            "visible": packed if visible is None else visible,
            "masks": UnpackedMasks(tuple(objects) or one),
            "scores": tuple(object_scores) or (score,) * len(one),
            "tile_scores": tuple(tile_scores),
            "present_tiles": tuple(present_tiles),
        }
        # the base class is frozen, and unpacked masks are not to be stored
        vars(self).update(fields)

    packed: RLEMask | None
    visible: RLEMask | None
    tile_scores: tuple[float, ...]
    present_tiles: tuple[int, ...]

    @property
    def mask(self) -> BoolMask | None:
        """The joined mask, bool ``[H, W]``, or None if the name is absent."""
        return None if self.packed is None else self.packed.decode()

    @property
    def empty(self) -> bool:
        """Whether the name is called present, but its mask has no pixel."""
        return self.packed is not None and not self.packed.any()

    @property
    def box(self) -> tuple[int, int, int, int] | None:
        """Bounding box of the mask: left, top, width, height in pixels; None for absent names and empty masks."""
        if self.packed is None or not self.packed.any():
            return None
        left, top, width, height = map(int, self.packed.box())
        return left, top, width, height


@dataclass(frozen=True, repr=False)
class TiledAnswer(Answer):
    """The answer to one query about a large picture; its entries are ``PackedEntry``.

    Where masks of different tiles contradict each other, the name asked for first lies on top.

    Args:
        size: Height and width of the picture.
        tiles: The tiles that were answered, in the order of the numbers in the entries.
    """

    size: tuple[int, int] = (0, 0)
    tiles: tuple[Tile, ...] = ()

    def overlap_map(self, size: tuple[int, int] | None = None) -> OverlapMap:
        """Return which entry's mask lies on top at each pixel; takes 8 bytes a pixel of the picture."""
        top = OverlapMap(self.size)
        for rank, mask, _ in self.visible():
            top.add_whole(rank, mask.decode(), 0)
        return top

    def label_map(
        self, names: Sequence[str] | None = None, size: tuple[int, int] | None = None, none: int = -1
    ) -> NDArray[np.int32]:
        """Return one label per pixel, as the base class does; takes 4 bytes a pixel of the picture."""
        labels, found = self.labels_of_entries(names, none), np.full(self.size, none, dtype=np.int32)
        for rank, mask, _ in reversed(list(self.visible())):
            found[mask.decode()] = labels[rank]
        return found

    def visible(self) -> Iterator[tuple[int, RLEMask, RLEMask]]:
        """Yield the rank of each entry with a mask, the pixels at which its mask lies on top, and all of its pixels."""
        for rank, entry in enumerate(self.entries):
            if isinstance(entry, PackedEntry) and entry.packed is not None and entry.visible is not None:
                yield rank, entry.visible, entry.packed


def packed_mask(entry: AnsweredEntry) -> RLEMask | None:
    """Return the mask of an entry as run lengths, without unpacking one that is packed."""
    if isinstance(entry, PackedEntry):
        return entry.packed
    return None if entry.mask is None else RLEMask.from_array(entry.mask)


def packed_masks(entry: AnsweredEntry) -> list[RLEMask]:
    """Return the masks of an entry's objects as run lengths, without unpacking those that are packed."""
    masks: Sequence[BoolMask] = entry.masks
    return list(masks.packed) if isinstance(masks, UnpackedMasks) else [RLEMask.from_array(mask) for mask in masks]
