"""From the masks of an image to few layers that hold them all.

Notation: h, w: size of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL, Batch, PackedMasks, Place, Sample
from lasagna.core.masks import BoolMask, LabelMask, Mask
from lasagna.core.processors import FittedImage, Processors
from lasagna.datamodules.streaming.sample import PreparedSample

FULL = 255
"""How many masks a layer holds besides the 0 of its empty pixels."""


def stack_masks(sample: PreparedSample) -> PackedMasks:
    """Put the masks of a sample's rows into layers, row by row, within a row in the order of its entries."""
    stack, places, ignored = MaskStack(sample.geometry.original), list[Place](), list[Place | None]()
    for row in sample.rows:
        count, ignore = len(row.mask_positions), row.dialogue.ignore
        masks = [entry.mask for entry in row.dialogue.entries if entry.present and entry.mask is not None]
        places += map(stack.place, masks[:count])
        ignored += [stack.place(ignore) if count and ignore is not None else None] * count
    return PackedMasks(torch.from_numpy(stack.layers()), places, ignored, sample.geometry)


class MaskStack:
    """Layers that masks are put into: a label map of bytes as it is, others wherever they overlap none.

    Args:
        size: Height and width of the image in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._layers: list[NDArray[np.uint8]] = []
        self._held: dict[int, int] = {}  # how many masks a layer has that is no label map
        self._maps: dict[int, int] = {}
        self._places: dict[int, tuple[Mask, Place]] = {}  # the masks are kept, so that their ids stay theirs

    def layers(self) -> NDArray[np.uint8]:
        """Return the layers, uint8 ``[m, h, w]``."""
        return np.stack(self._layers) if self._layers else np.zeros((0, *self.size), np.uint8)

    def place(self, mask: Mask) -> Place:
        """Return where a mask is, after putting it there if it is not yet."""
        if id(mask) not in self._places:
            self._places[id(mask)] = mask, self._put(mask)
        return self._places[id(mask)][1]

    def _put(self, mask: Mask) -> Place:
        if isinstance(mask, LabelMask) and _is_one_byte(mask):
            layer = self._maps.setdefault(id(mask.label_map), len(self._layers))
            if layer == len(self._layers):
                self._layers.append(mask.label_map.pixels)
            return layer, mask.values[0]
        return self._paint(mask.decode())

    def _paint(self, pixels: BoolMask) -> Place:
        layer = next((layer for layer, held in self._held.items() if held < FULL and self._fits(pixels, layer)), None)
        if layer is None:
            layer = len(self._layers)
            self._layers.append(np.zeros(self.size, np.uint8))
        self._held[layer] = self._held.get(layer, 0) + 1
        self._layers[layer][pixels] = self._held[layer]
        return layer, self._held[layer]

    def _fits(self, pixels: BoolMask, layer: int) -> bool:
        return not np.logical_and(self._layers[layer], pixels).any()


def _is_one_byte(mask: LabelMask) -> bool:
    return mask.label_map.pixels.dtype == np.uint8 and len(mask.values) == 1 and 0 <= mask.values[0] <= 255


def collate(samples: Sequence[PreparedSample], processors: Processors) -> Batch:
    """Put samples into a batch.

    Args:
        samples: Images with their dialogues.
        processors: How the assistant wants text; its padding token fills the rows at the right.

    Returns:
        The batch; masks come row by row, within a row in the order of its entries.
    """
    rows = [(image, row) for image, sample in enumerate(samples) for row in sample.rows]
    towers = [sample.tower_pixels for sample in samples if sample.tower_pixels is not None]
    return Batch(
        pixels=_join([sample.pixels for sample in samples]),
        geometries=[sample.geometry for sample in samples],
        input_ids=_pad([row.input_ids for _, row in rows], processors.text.padding_token_id),
        labels=_pad([row.labels for _, row in rows], IGNORE_LABEL),
        lengths=_longs(len(row.input_ids) for _, row in rows),
        image_index=_longs(image for image, _ in rows),
        mask_targets=[stack_masks(sample) for sample in samples],
        mask_rows=_longs(rank for rank, (_, row) in enumerate(rows) for _ in row.mask_positions),
        mask_positions=_longs(place for _, row in rows for place in row.mask_positions),
        samples=[Sample(samples[image].source, samples[image].key, image, row.dialogue) for image, row in rows],
        images=[sample.image for sample in samples if sample.image is not None],
        tower_pixels=_join(towers) if towers else None,
    )


def _pad(sequences: Sequence[Sequence[int]], value: int) -> Tensor:
    # numpy reads lists several times as fast as torch does
    padded = np.full((len(sequences), max(map(len, sequences))), value, dtype=np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(padded)


def _longs(values: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.fromiter(values, dtype=np.int64))


def _join(images: Sequence[Tensor | FittedImage]) -> Tensor | list[FittedImage]:
    fitted = [image for image in images if isinstance(image, FittedImage)]
    return fitted or torch.stack([image for image in images if isinstance(image, Tensor)])
