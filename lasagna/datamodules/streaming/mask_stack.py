"""Packing the masks of each image into a few label maps, in the processes that prepare samples.

Notation: m: layers of packed masks; h, w: size of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lasagna.core.geometry import Geometry
from lasagna.core.masks import BoolMask, LabelMask, Mask, UnionMask
from lasagna.core.packed_masks import PackedMasks, Place, small_cells
from lasagna.datamodules.streaming.preparation import PreparedSample, Row

FULL = 255
"""Maximum number of masks in a layer; the value 0 marks pixels without a mask."""


def stack_masks(sample: PreparedSample) -> PackedMasks:
    """Pack the masks of a sample's rows, row by row, within a row in the order of its tokens."""
    stack, places, ignored = MaskStack(sample.geometry.original), list[Place](), list[Place | None]()
    for row in sample.rows:
        targets = [target for found in row.dialogue.targets for target in found if target is not None]
        for mask, ignore in targets[: len(row.mask_positions)]:
            places.append(stack.place(mask))
            ignored.append(None if ignore is None else stack.place(ignore))
    packed = PackedMasks(torch.from_numpy(stack.layers()), places, ignored, sample.geometry, empty=stack.empty(places))
    return replace(packed, cells=small_cells(packed))


def stack_objects(rows: Sequence[Row], geometry: Geometry) -> tuple[PackedMasks, list[int]]:
    """Pack the objects of the names that prompt a set of masks.

    Args:
        rows: The dialogues about an image.
        geometry: Its geometry.

    Returns:
        The objects, for which pixels of crowds do not count, and for each the position of its name's mask among the
        masks of the rows.
    """
    stack, owners, first = MaskStack(geometry.original), list[int](), 0
    places, ignored = list[Place](), list[Place | None]()
    for row in rows:
        for rank, masks, void in _sets(row):
            ignore = None if void is None else stack.place(void)
            places += map(stack.place, masks)
            ignored += [ignore] * len(masks)
            owners += [first + rank] * len(masks)
        first += len(row.mask_positions)
    packed = PackedMasks(torch.from_numpy(stack.layers()), places, ignored, geometry, empty=stack.empty(places))
    return replace(packed, cells=small_cells(packed)), owners


def _sets(row: Row) -> Iterator[tuple[int, Sequence[Mask], Mask | None]]:
    """Yield rank, objects and what does not count of each name that has objects and prompts a set of masks."""
    dialogue = row.dialogue
    present = [entry for entry in dialogue.entries if entry.present and entry.mask is not None]
    for rank, entry in enumerate(present[: len(row.mask_positions)] if dialogue.kind.is_set else ()):
        void = (*entry.crowds, *(() if dialogue.ignore is None else (dialogue.ignore,)))
        if entry.masks:
            yield rank, entry.masks, UnionMask(void, shape=entry.masks[0].size) if void else None


class MaskStack:
    """Layers of packed masks: a label map of bytes becomes a layer, other masks share layers where they do not overlap.

    Args:
        size: Height and width of the image in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._layers: list[NDArray[np.uint8]] = []
        self._counts: dict[int, int] = {}  # number of masks in each layer that is not a label map
        self._maps: dict[int, int] = {}
        self._places: dict[int, tuple[Mask, Place]] = {}  # keeps the masks, so that no other object gets their ids
        self._empty: set[Place] = set()

    def layers(self) -> NDArray[np.uint8]:
        """Return the layers, uint8 ``[m, h, w]``."""
        return np.stack(self._layers) if self._layers else np.zeros((0, *self.size), np.uint8)

    def empty(self, places: Iterable[Place]) -> int:
        """Return how many of some places belong to masks without a pixel."""
        return sum(place in self._empty for place in places)

    def place(self, mask: Mask) -> Place:
        """Return the layer and value of a mask; add the mask first if it is new."""
        if id(mask) not in self._places:
            self._places[id(mask)] = mask, self._add(mask)
        return self._places[id(mask)][1]

    def _add(self, mask: Mask) -> Place:
        if (
            isinstance(mask, LabelMask)
            and mask.label_map.pixels.dtype == np.uint8
            and len(mask.values) == 1
            and 0 <= mask.values[0] <= 255
        ):
            layer = self._maps.setdefault(id(mask.label_map), len(self._layers))
            if layer == len(self._layers):
                self._layers.append(mask.label_map.pixels)
            return layer, mask.values[0]
        return self._paint(mask.decode())

    def _paint(self, pixels: BoolMask) -> Place:
        """Add a mask to the first layer that is not full and does not overlap it, or to a new one."""
        for layer, count in self._counts.items():
            if count < FULL and not np.logical_and(self._layers[layer], pixels).any():
                break
        else:
            layer = len(self._layers)
            self._layers.append(np.zeros(self.size, np.uint8))
        self._counts[layer] = self._counts.get(layer, 0) + 1
        if not pixels.any():
            self._empty.add((layer, self._counts[layer]))
        self._layers[layer][pixels] = self._counts[layer]
        return layer, self._counts[layer]
