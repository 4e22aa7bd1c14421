"""The batches that a plan looks at: the first ones of the data, or drawn ones where the data is not there yet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from lasagna.core.batch import Batch
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.processors import Processors
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.datamodules import collate, prepare_sample
from lasagna.errors import LasagnaError, QueryError

LOOKED_AT = 4
"""Batches of the data that are read."""

NAMES = 24
"""Names of a drawn list, if the data's strategies do not limit them."""


@dataclass(frozen=True)
class PlannedBatches:
    """Batches of a training.

    Args:
        batches: The batches.
        origin: Where they come from, in words.
    """

    batches: list[Batch]
    origin: str

    @property
    def largest(self) -> Batch:
        """The batch with the most tokens, padding included, and masks."""
        return max(self.batches, key=lambda batch: (batch.input_ids.numel(), len(batch.mask_rows)))

    def mean(self, what: str) -> float:
        """Return the mean over the batches.

        Args:
            what: "images", "rows", "tokens" (padding included) or "masks".
        """
        counts = {
            "images": [len(batch.geometries) for batch in self.batches],
            "rows": [len(batch.input_ids) for batch in self.batches],
            "tokens": [batch.input_ids.numel() for batch in self.batches],
            "masks": [len(batch.mask_rows) for batch in self.batches],
        }
        return float(np.mean(counts[what]))


def planned_batches(data: Any, processors: Processors, size: tuple[int, int]) -> PlannedBatches:  # noqa: ANN401
    """Return the first batches of a data module, or a drawn one if its data cannot be read.

    Args:
        data: The data module; nothing is written.
        processors: The assistant's processors.
        size: Height and width of drawn images.
    """
    images, names = int(getattr(data, "batch_size", 1)), _names(data)
    try:
        data.num_workers = 0
        data.setup("fit")
        data.connect(processors)
        batches = list(islice(iter(data.train_dataloader()), LOOKED_AT))
    except (LasagnaError, OSError):
        batches = []
    if batches:
        return PlannedBatches(batches, f"the first {len(batches)} batches of the data; memory is that of the largest")
    batch, asked = drawn_batch(processors, images, names, size)
    return PlannedBatches(
        [batch], f"assumed, since the data is not there: images of {asked} names, half of them present"
    )


def drawn_batch(processors: Processors, images: int, names: int, size: tuple[int, int]) -> tuple[Batch, int]:
    """Return a batch of lists, half of whose names are present, and the number of names.

    Args:
        processors: The assistant's processors.
        images: Number of images; each has one list.
        names: Number of names; halved until a row fits the language model.
        size: Height and width of the images.
    """
    asked = tuple(f"name {number}" for number in range(names))
    masks = np.zeros((len(asked), *size), bool)
    for rank, mask in enumerate(masks):
        mask[rank :: 2 * len(asked)] = True
    entries = tuple(
        Entry(name, rank % 2 == 0, RLEMask.from_array(masks[rank]) if rank % 2 == 0 else None)
        for rank, name in enumerate(asked)
    )
    image = np.zeros((*size, 3), np.uint8)
    try:
        sample = prepare_sample(image, [Dialogue(CATEGORY_LIST, asked, entries)], processors)
    except QueryError:
        if names == 1:
            raise
        return drawn_batch(processors, images, names // 2, size)
    return collate([sample] * images, processors), names


def _names(data: object) -> int:
    limits = [strategy.longest for strategy in getattr(data, "strategies", ())]
    return min([limit for limit in limits if limit], default=NAMES)
