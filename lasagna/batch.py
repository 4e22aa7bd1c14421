"""What travels from the datamodules to the assistant: prepared images and tokenised dialogues.

Notation: b: images; r: dialogues (rows); t: tokens; n: masks; H, W: the vision encoder's input size in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.dialogue import Dialogue, Kind
from lasagna.masks import BoolMask
from lasagna.prompt_format import PromptFormat

IGNORE_LABEL = -100
"""Label of tokens without supervision, as in ``torch.nn.functional.cross_entropy``."""

IGNORE_PIXEL = 255
"""Value of pixels in mask targets that count in no loss."""


@dataclass(frozen=True)
class Geometry:
    """How an image was fitted into the vision encoder's input: resized, then padded at the right and the bottom.

    Args:
        original: Height and width of the image as it was.
        resized: Height and width of its part of the input.
        padded: Height and width of the whole input.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    padded: tuple[int, int]


class ImagePreparation(Protocol):
    """A vision encoder's own resize, padding and normalisation."""

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say how an image of some height and width will be fitted."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the encoder's input, float ``[3, H, W]``."""


class TextPreparation(Protocol):
    """A language model's own tokeniser, with the image in its place."""

    @property
    def end_token_id(self) -> int:
        """Token that ends an answer."""

    @property
    def padding_token_id(self) -> int:
        """Token that fills rows up."""

    @property
    def max_length(self) -> int:
        """Longest row the language model takes."""

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """Tokens with a meaning of their own, such as the end token, which no name and no answer in words may hold."""

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids: a start token if the model has one, as many image tokens as an image costs."""

    def further_ids(self, text: str) -> list[int]:
        """Turn the prompt of a further round of a talk into token ids: no start token, and no image."""

    def answer_ids(self, text: str) -> list[int]:
        """Turn an answer, or a part of one that ends with a special token, into token ids; no end token."""

    def text(self, token_ids: Sequence[int]) -> str:
        """Turn the token ids of an answer back into text; end and padding tokens are left out."""


@dataclass(frozen=True)
class Preparation:
    """All that is needed to turn an image and a dialogue into tensors; small, and safe to send to a worker.

    Args:
        image: Input of the vision encoder.
        text: Input of the language model.
        prompt_format: How queries and answers are written.
        tower: Input of the language model's own visual tower, or None if it reads the vision encoder's features.
    """

    image: ImagePreparation
    text: TextPreparation
    prompt_format: PromptFormat
    tower: ImagePreparation | None = None


@dataclass(frozen=True)
class Query:
    """One question to the assistant about one image of a batch.

    Args:
        image: Position of the image in the batch.
        kind: Kind of the query.
        names: What is asked for, in the order asked.
    """

    image: int
    kind: Kind
    names: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """Where a row of a batch comes from, for scores and pictures.

    Args:
        source: Name of the source.
        key: Key of the record.
        image: Position of the image in the batch.
        dialogue: The dialogue with its masks in the image's own size.
    """

    source: str
    key: str
    image: int
    dialogue: Dialogue


class Batch:
    """A batch of dialogues over fewer, or as many, images.

    Not a dataclass, since Lightning would take it apart to convert what is in it, and geometries cannot be changed.

    Args:
        pixels: Input of the vision encoder, float ``[b, 3, H, W]``.
        geometries: How each image was fitted, ``b`` of them.
        input_ids: Prompts and answers, long ``[r, t]``, padded at the right.
        labels: ``input_ids`` where supervised (the answers and their end token), else -100; long ``[r, t]``.
        lengths: Number of tokens of each row, long ``[r]``.
        image_index: Which image each row is about, long ``[r]``.
        mask_targets: Masks to learn in the encoder's geometry, uint8 ``[n, H, W]``: 0, 1, or 255 for ignored.
        mask_rows: Row of each mask, long ``[n]``.
        mask_positions: Position of each mask's present token in its row, long ``[n]``.
        samples: Where the rows come from, ``r`` of them.
        images: The images as they were, uint8 ``[h, w, 3]``, ``b`` of them; empty in training.
        tower_pixels: Input of the language model's own visual tower, or None.
    """

    def __init__(
        self,
        pixels: Tensor,
        geometries: list[Geometry],
        input_ids: Tensor,
        labels: Tensor,
        lengths: Tensor,
        image_index: Tensor,
        mask_targets: Tensor,
        mask_rows: Tensor,
        mask_positions: Tensor,
        samples: list[Sample],
        images: list[NDArray[np.uint8]],
        tower_pixels: Tensor | None = None,
    ) -> None:
        self.pixels = pixels
        self.geometries = geometries
        self.input_ids = input_ids
        self.labels = labels
        self.lengths = lengths
        self.image_index = image_index
        self.mask_targets = mask_targets
        self.mask_rows = mask_rows
        self.mask_positions = mask_positions
        self.samples = samples
        self.images = images
        self.tower_pixels = tower_pixels

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on another device."""
        return Batch(**{name: _move(value, device, non_blocking) for name, value in vars(self).items()})

    def pin_memory(self) -> Batch:
        """Return the batch with its tensors in page-locked memory, as ``DataLoader`` asks for."""
        return Batch(**{name: _pin(value) for name, value in vars(self).items()})


def _move(value: Any, device: torch.device | str, non_blocking: bool) -> Any:  # noqa: ANN401
    return value.to(device, non_blocking=non_blocking) if isinstance(value, Tensor) else value


def _pin(value: Any) -> Any:  # noqa: ANN401
    return value.pin_memory() if isinstance(value, Tensor) else value


def fit_mask(mask: BoolMask, geometry: Geometry) -> Tensor:
    """Fit a mask into the encoder's geometry: nearest neighbour, padding ignored.

    Args:
        mask: Bool ``[h, w]`` of the image's own size.
        geometry: How the image was fitted.

    Returns:
        uint8 ``[H, W]`` with 0, 1, and 255 where the input is padding.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.uint8))
    if geometry.resized != geometry.original:
        resized = torch.nn.functional.interpolate(pixels[None, None], size=geometry.resized, mode="nearest-exact")
        pixels = resized[0, 0]
    target = torch.full(geometry.padded, IGNORE_PIXEL, dtype=torch.uint8)
    target[: geometry.resized[0], : geometry.resized[1]] = pixels
    return target


def restore_logits(logits: Tensor, geometry: Geometry) -> Tensor:
    """Take mask logits from the encoder's geometry back to the image's own size.

    Args:
        logits: Float ``[n, h', w']`` that cover the padded input.
        geometry: How the image was fitted.

    Returns:
        Float ``[n, h, w]`` of the image's own size.
    """
    padded = _resize(logits, geometry.padded)
    return _resize(padded[:, : geometry.resized[0], : geometry.resized[1]], geometry.original)


def _resize(logits: Tensor, size: tuple[int, int]) -> Tensor:
    if logits.shape[-2:] == size:
        return logits
    return torch.nn.functional.interpolate(logits[:, None].float(), size=size, mode="bilinear")[:, 0]
