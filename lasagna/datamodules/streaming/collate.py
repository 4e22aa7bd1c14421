"""Collating samples into batches, with the masks of each image packed into a few label maps.

Notation: m: layers of packed masks; h, w: size of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL, Batch, Sample
from lasagna.core.dialogue import Dialogue
from lasagna.core.image_places import in_order
from lasagna.core.masks import BoolMask, LabelMask, Mask
from lasagna.core.packed_masks import PackedMasks, Place, small_cells
from lasagna.core.processors import FittedImage, Processors
from lasagna.datamodules.streaming.preparation import PreparedSample

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
    packed = PackedMasks(torch.from_numpy(stack.layers()), places, ignored, sample.geometry)
    return replace(packed, cells=small_cells(packed))


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

    def layers(self) -> NDArray[np.uint8]:
        """Return the layers, uint8 ``[m, h, w]``."""
        return np.stack(self._layers) if self._layers else np.zeros((0, *self.size), np.uint8)

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
        self._layers[layer][pixels] = self._counts[layer]
        return layer, self._counts[layer]


def collate(samples: Sequence[PreparedSample], processors: Processors) -> Batch:
    """Combine samples into a batch.

    Args:
        samples: Images with their dialogues.
        processors: The assistant's processors; the padding token of text fills rows on the right.

    Returns:
        The batch; masks are ordered by row, within a row by entry.
    """
    rows = [(image, row) for image, sample in enumerate(samples) for row in sample.rows]
    pixels = [sample.pixels for sample in samples]
    towers = [sample.tower_pixels for sample in samples if sample.tower_pixels is not None]
    (towers or pixels).extend(other for sample in samples for other in sample.others)
    return Batch(
        pixels=_join(pixels),
        geometries=[sample.geometry for sample in samples],
        input_ids=_pad([row.input_ids for _, row in rows], processors.text.padding_token_id),
        labels=_pad([row.labels for _, row in rows], IGNORE_LABEL),
        lengths=_integers(len(row.input_ids) for _, row in rows),
        image_index=_integers(image for image, _ in rows),
        mask_targets=[stack_masks(sample) for sample in samples],
        mask_rows=_integers(rank for rank, (_, row) in enumerate(rows) for _ in row.mask_positions),
        mask_positions=_integers(place for _, row in rows for place in row.mask_positions),
        samples=[_origin(samples[image], image, row.dialogue) for image, row in rows],
        images=[sample.image for sample in samples if sample.image is not None],
        tower_pixels=_join(towers) if towers else None,
        shown=_shown(samples),
    )


def _origin(sample: PreparedSample, image: int, dialogue: Dialogue) -> Sample:
    return Sample(sample.source, sample.key, image, dialogue, len(sample.others) + 1)


def _shown(samples: Sequence[PreparedSample]) -> Tensor | None:
    """Return the positions of the images of each sample, of which the annotated ones come first in a batch."""
    if not any(sample.others for sample in samples):
        return None
    positions, end = [], len(samples)
    for rank, sample in enumerate(samples):
        others = range(end, end := end + len(sample.others))
        positions.append(in_order(rank, others, sample.place))
    return _pad(positions, 0)


def _pad(sequences: Sequence[Sequence[int]], value: int) -> Tensor:
    # NumPy reads lists several times as fast as PyTorch
    padded = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)


def _integers(values: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.fromiter(values, dtype=np.int64))


def _join(images: Sequence[Tensor | FittedImage]) -> Tensor | list[FittedImage]:
    fitted = [image for image in images if isinstance(image, FittedImage)]
    return fitted or torch.stack([image for image in images if isinstance(image, Tensor)])
