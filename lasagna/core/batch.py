"""Batches from the datamodules to the assistant: processed images, tokenised dialogues and masks.

Notation: b: images; r: dialogues (rows); t: tokens; n: masks; H, W: the vision encoder's input size in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.dialogue import Dialogue
from lasagna.core.geometry import Geometry
from lasagna.core.packed_masks import PackedMasks, mask_targets
from lasagna.core.processors import FittedImage, SmallTensors, normalise
from lasagna.core.query_kind import QUESTION, QueryKind, kind_of
from lasagna.core.visual_prompt import VisualPrompt
from lasagna.errors import QueryError

IGNORE_LABEL = -100
"""Label of tokens without supervision, as in ``torch.nn.functional.cross_entropy``."""


@dataclass(frozen=True)
class Query:
    """One query to the assistant about one image of a batch.

    Args:
        image: Position of the image in the batch; of several, the one that the masks belong to.
        kind: Kind of the query, or the name of one of the package's.
        names: Names asked for, in order.
        visual: Points, boxes or an earlier mask that say where the one name is, or None.
        images: Number of images that are shown with it.
        thresholds: Score from which each name is called present, None for the assistant's; empty if all have that.
        wording: Number of the prompt's wording among those of the prompt format, modulo their count.

    Raises:
        QueryError: If some names have a threshold and others have none.
    """

    image: int
    kind: QueryKind
    names: tuple[str, ...]
    visual: VisualPrompt | None = None
    images: int = 1
    thresholds: tuple[float | None, ...] = ()
    wording: int = 0

    def __post_init__(self) -> None:
        """Turn the name of a kind into the kind, and check that each name has a threshold if any has."""
        object.__setattr__(self, "kind", kind_of(self.kind))
        if self.thresholds and len(self.thresholds) != len(self.names):
            raise QueryError(f"thresholds: got {len(self.thresholds)} for {len(self.names)} names; give one for each")


@dataclass(frozen=True)
class Sample:
    """The origin of a row of a batch, for scores and pictures.

    Args:
        source: Name of the source.
        key: Key of the record.
        image: Position of the image in the batch.
        dialogue: The dialogue, with masks of the image's own size.
        images: Number of images that are shown with it.
    """

    source: str
    key: str
    image: int
    dialogue: Dialogue
    images: int = 1


@dataclass(frozen=True)
class StepCounts:
    """What the batches of one optimiser step hold together.

    Args:
        tokens: Supervised tokens.
        masks: Masks to learn.
        divisor: Number by which the trainer divides the sum of their gradients: batches that it accumulates times
            processes.
        apart: Names that prompt a set of masks.
        objects: Their objects.
        names: Names that the answers decide on.
    """

    tokens: int
    masks: int
    divisor: int
    apart: int = 0
    objects: int = 0
    names: int = 0


class Batch(SmallTensors):
    """A batch of dialogues about the same number of images or fewer.

    Where several images are shown together, only the one that the masks belong to counts among the ``b`` images; the
    others follow behind these in the input of what the language model reads.

    This is not a dataclass, since Lightning would move the fields of one separately, and geometries are frozen.

    Workers send images before normalisation and masks before resizing. ``pixels``, ``mask_targets`` and
    ``tower_pixels`` are computed from them at first access, on the device of the batch, and can be assigned.

    Args:
        pixels: Input of the vision encoder, float ``[b, 3, H, W]``, or the resized images that become it. The other
            images follow, unless ``tower_pixels`` has them.
        geometries: Geometry of each image, ``b`` of them.
        input_ids: Prompts and answers, long ``[r, t]``, padded at the right.
        labels: ``input_ids`` where supervised (answers and their end tokens), elsewhere -100, long ``[r, t]``.
        lengths: Number of tokens of each row, long ``[r]``.
        image_index: Position of the image of each row, long ``[r]``.
        mask_targets: Masks to learn in the encoder's geometry, uint8 ``[n, H, W]``: 0, 1, or 255 for ignored pixels;
            or the packed masks that become them.
        mask_rows: Row of each mask, long ``[n]``.
        mask_positions: Position of each mask's present token in its row, long ``[n]``.
        samples: Origins of the rows, ``r`` of them.
        images: Original images, uint8 ``[h, w, 3]``, ``b`` of them; empty in training.
        tower_pixels: Input of the language model's own visual tower, or the resized images that become it, or None.
        step: What all batches of its optimiser step hold, or None if it is a step by itself.
        shown: Positions of each image's images in the order in which they are shown, filled up at the end, long
            ``[b, k]``; None if each is shown alone.
        objects: The objects of names that prompt a set of masks, for each image; empty in evaluation.
        object_masks: Position of each object's mask, that of all its name's pixels, among the ``n``.
    """

    def __init__(
        self,
        pixels: Tensor | Sequence[FittedImage],
        geometries: list[Geometry],
        input_ids: Tensor,
        labels: Tensor,
        lengths: Tensor,
        image_index: Tensor,
        mask_targets: Tensor | Sequence[PackedMasks],
        mask_rows: Tensor,
        mask_positions: Tensor,
        samples: list[Sample],
        images: list[NDArray[np.uint8]],
        tower_pixels: Tensor | Sequence[FittedImage] | None = None,
        step: StepCounts | None = None,
        shown: Tensor | None = None,
        objects: list[PackedMasks] | None = None,
        object_masks: list[int] | None = None,
    ) -> None:
        self._pixels, self._mask_targets, self._tower_pixels = pixels, mask_targets, tower_pixels
        self.geometries = geometries
        self.input_ids = input_ids
        self.labels = labels
        self.lengths = lengths
        self.image_index = image_index
        self.mask_rows = mask_rows
        self.mask_positions = mask_positions
        self.samples = samples
        self.images = images
        self.step = step
        self.shown = shown
        self.objects = objects
        self.object_masks = object_masks

    @property
    def supervised(self) -> Tensor:
        """Whether each token but the first is predicted in training, bool ``[r, t - 1]``."""
        return self.labels[:, 1:] != IGNORE_LABEL

    @property
    def attention_mask(self) -> Tensor:
        """1 for each token of a row and 0 for its padding, long ``[r, t]``."""
        places = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        return (places < self.lengths[:, None]).long()

    @property
    def kinds(self) -> dict[str, QueryKind]:
        """The kinds of query that the rows have, by name."""
        dialogues = [sample.dialogue for sample in self.samples]
        found = {str(dialogue.kind): dialogue.kind for dialogue in dialogues}
        return found | ({str(QUESTION): QUESTION} if any(dialogue.later for dialogue in dialogues) else {})

    @cached_property
    def pixels(self) -> Tensor:
        """Input of the vision encoder, float ``[b, 3, H, W]``."""
        return _floats(self._pixels)

    @cached_property
    def mask_targets(self) -> Tensor:
        """Masks to learn in the encoder's geometry, uint8 ``[n, H, W]``: 0, 1, or 255 for ignored pixels."""
        masks = self._mask_targets
        return masks if isinstance(masks, Tensor) else mask_targets(masks)

    @property
    def small_masks(self) -> int:
        """Number of masks that are smaller than a pixel of the input, and learned as one."""
        return sum(masks.small for masks in self._mask_targets if isinstance(masks, PackedMasks))

    @property
    def empty_masks(self) -> int:
        """Number of masks to learn, of names and of their objects, that have no pixel."""
        packed = [*self._mask_targets, *(self.objects or ())] if not isinstance(self._mask_targets, Tensor) else []
        return sum(masks.empty for masks in packed)

    @property
    def object_counts(self) -> tuple[int, int]:
        """Number of names that prompt a set of masks, and of their objects."""
        asked = [sample.dialogue for sample in self.samples if sample.dialogue.kind.is_set]
        counts = [len(entry.masks) for dialogue in asked for entry in dialogue.entries if entry.masks]
        return len(counts), sum(counts)

    @property
    def decided_names(self) -> int:
        """Number of names that the answers decide on."""
        return sum(known is not None for sample in self.samples for known in sample.dialogue.decisions)

    @cached_property
    def tower_pixels(self) -> Tensor | None:
        """Input of the language model's own visual tower, or None if it has none."""
        return None if self._tower_pixels is None else _floats(self._tower_pixels)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on another device."""
        return self._map(lambda part: part.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch with its tensors in page-locked memory, as ``DataLoader`` requests."""
        return self._map(lambda part: part.pin_memory())

    def _map(self, change: Callable[[Any], Any]) -> Batch:
        """Return a batch with a function applied to every part that lies on a device."""
        # computed and assigned values come after their sources in `vars`, and so replace them
        return Batch(**{name.removeprefix("_"): _changed(value, change) for name, value in vars(self).items()})


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    if isinstance(value, Tensor | FittedImage | PackedMasks):
        return change(value)
    return [_changed(item, change) for item in value] if isinstance(value, list) else value


def _floats(images: Tensor | Sequence[FittedImage]) -> Tensor:
    return images if isinstance(images, Tensor) else normalise(images)
