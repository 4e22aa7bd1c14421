"""From prepared samples to one batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lasagna.batch import IGNORE_LABEL, Batch, Preparation, Sample
from lasagna.datamodules.mask_stacking import stack_masks
from lasagna.datamodules.sample import PreparedSample, Row
from lasagna.fitted_image import FittedImage


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
        lengths=torch.tensor([len(row.input_ids) for _, row in rows]),
        image_index=torch.tensor([image for image, _ in rows]),
        mask_targets=[stack_masks(sample) for sample in samples],
        mask_rows=_repeat([row for _, row in rows]),
        mask_positions=torch.tensor([place for _, row in rows for place in row.mask_positions], dtype=torch.long),
        samples=[Sample(samples[image].source, samples[image].key, image, row.dialogue) for image, row in rows],
        images=[sample.image for sample in samples if sample.image is not None],
        tower_pixels=_join(towers) if towers else None,
    )


def _pad(sequences: Sequence[Sequence[int]], value: int) -> Tensor:
    padded = torch.full((len(sequences), max(map(len, sequences))), value, dtype=torch.long)
    for place, sequence in enumerate(sequences):
        padded[place, : len(sequence)] = torch.tensor(sequence)
    return padded


def _repeat(rows: Sequence[Row]) -> Tensor:
    counts = torch.tensor([len(row.mask_positions) for row in rows])
    return torch.repeat_interleave(torch.arange(len(rows)), counts)


def _join(images: Sequence[Tensor | FittedImage]) -> Tensor | list[FittedImage]:
    fitted = [image for image in images if isinstance(image, FittedImage)]
    return fitted or torch.stack([image for image in images if isinstance(image, Tensor)])
