"""From prepared samples to one batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL, Batch, Preparation, Sample
from lasagna.core.processors import FittedImage
from lasagna.datamodules.mask_stacking import stack_masks
from lasagna.datamodules.sample import PreparedSample


def collate(samples: Sequence[PreparedSample], preparation: Preparation) -> Batch:
    """Put samples into a batch.

    Args:
        samples: Images with their dialogues.
        preparation: How the assistant wants text; its padding token fills the rows at the right.

    Returns:
        The batch; masks come row by row, within a row in the order of its entries.
    """
    rows = [(image, row) for image, sample in enumerate(samples) for row in sample.rows]
    towers = [sample.tower_pixels for sample in samples if sample.tower_pixels is not None]
    return Batch(
        pixels=_join([sample.pixels for sample in samples]),
        geometries=[sample.geometry for sample in samples],
        input_ids=_pad([row.input_ids for _, row in rows], preparation.text.padding_token_id),
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
