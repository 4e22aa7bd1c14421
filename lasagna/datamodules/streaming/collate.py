"""Collating samples into batches, with the masks of each image packed into a few label maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from lasagna.core.batch import IGNORE_LABEL, Batch, Sample
from lasagna.core.dialogue import Dialogue
from lasagna.core.image_places import in_order
from lasagna.core.processors import FittedImage, Processors
from lasagna.datamodules.streaming.mask_stack import stack_masks, stack_objects
from lasagna.datamodules.streaming.preparation import PreparedSample


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
    objects = [stack_objects(() if sample.image is not None else sample.rows, sample.geometry) for sample in samples]
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
        objects=[packed for packed, _ in objects],
        object_masks=_owners(samples, [owners for _, owners in objects]),
    )


def _owners(samples: Sequence[PreparedSample], owners: Sequence[Sequence[int]]) -> list[int]:
    """Return the position of each object's mask among those of the batch."""
    counts = [sum(len(row.mask_positions) for row in sample.rows) for sample in samples]
    firsts = accumulate(counts, initial=0)
    return [first + owner for first, own in zip(firsts, owners, strict=False) for owner in own]


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
