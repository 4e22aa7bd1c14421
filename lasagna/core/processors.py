"""Images as a part takes them, but for what is the same for every pixel: their normalisation, and the padding.

A byte a value instead of the four of a float, and nothing for the padding: that is what workers hand over. Where the
part computes, the floats are made, the same to the bit.

Notation: b: images; h, w: size of an image as it was fitted; H, W: a part's input size in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.geometry import Geometry
from lasagna.core.prompt_format import PromptFormat

Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Normalisation:
    """What becomes of the bytes of an image.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        unit: Whether bytes are brought to [0, 1] before.
        double: Whether that is done by multiplying in double precision, as transformers does, or by dividing.
    """

    mean: Channels
    std: Channels
    unit: bool = True
    double: bool = False

    @property
    def tables(self) -> NDArray[np.float32]:
        """What each byte becomes in each channel, float32 ``[3, 256]``."""
        return _tables(self)


@lru_cache(maxsize=16)
def _tables(rule: Normalisation) -> NDArray[np.float32]:
    values: NDArray[np.float32]
    if not rule.unit:
        values = np.arange(256, dtype=np.float32)
    elif rule.double:
        values = (np.arange(256, dtype=np.uint8) * (1 / 255)).astype(np.float32)
    else:
        values = np.arange(256, dtype=np.float32) / np.float32(255)
    mean, std = (np.array(channels, dtype=np.float32)[:, None] for channels in (rule.mean, rule.std))
    return (values[None] - mean) / std


class ImageProcessor(Protocol):
    """A vision encoder's own resize, padding and normalisation."""

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say how an image of some height and width will be fitted."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the encoder's input, float ``[3, H, W]``."""


class TextProcessor(Protocol):
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
class Processors:
    """All that is needed to turn an image and a dialogue into tensors; small, and safe to send to a worker.

    Args:
        image: Input of the vision encoder.
        text: Input of the language model.
        prompt_format: How queries and answers are written.
        tower: Input of the language model's own visual tower, or None if it reads the vision encoder's features.
    """

    image: ImageProcessor
    text: TextProcessor
    prompt_format: PromptFormat
    tower: ImageProcessor | None = None


LARGEST = 1 << 18
"""Up to how many bytes a tensor travels with what holds it."""

_KINDS = (torch.bool, torch.uint8, torch.int64, torch.float32)


@dataclass(frozen=True)
class _Copied:
    values: NDArray[Any]


class SmallTensors:
    """Something whose attributes travel between processes as copies where they are small tensors."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, small tensors as arrays."""
        return {name: _Copied(value.numpy()) if _is_small(value) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the attributes over."""
        for name, value in state.items():
            self.__dict__[name] = torch.from_numpy(value.values) if isinstance(value, _Copied) else value


def _is_small(value: object) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.requires_grad:
        return False
    return value.dtype in _KINDS and value.nbytes <= LARGEST


@dataclass(frozen=True)
class FittedImage(SmallTensors):
    """An image in the size that a part sees it in.

    Args:
        values: The image, uint8 ``[3, h, w]``.
        normalisation: What becomes of its bytes.
        padded: Height and width of the input, which is zero below and right of the image.
    """

    values: Tensor
    normalisation: Normalisation
    padded: tuple[int, int]

    @classmethod
    def of(cls, image: NDArray[np.uint8], normalisation: Normalisation, padded: tuple[int, int]) -> FittedImage:
        """Make one of an array ``[h, w, 3]``, which is copied where it is read-only or turned round."""
        usable = image.flags.writeable and min(image.strides) > 0
        return cls(torch.from_numpy(image if usable else image.copy()).permute(2, 0, 1), normalisation, padded)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FittedImage:
        """Return the image on another device."""
        return replace(self, values=self.values.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> FittedImage:
        """Return the image in page-locked memory."""
        return replace(self, values=self.values.pin_memory())


class ByteImageProcessor(ABC):
    """An image preparation that fits the bytes of an image and then normalises them all by one rule."""

    @abstractmethod
    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Fit an image ``[h, w, 3]``, so that only normalisation and padding are left to do."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the part's input, float ``[3, H, W]``."""
        return normalise([self.fitted(image)])[0]


def prepare(processors: ImageProcessor, image: NDArray[np.uint8]) -> Tensor | FittedImage:
    """Prepare an image as far as a worker should: up to its bytes where the preparation ends with a normalisation.

    Args:
        processors: Of the part.
        image: uint8 ``[h, w, 3]``.

    Returns:
        The fitted image, or the input itself, float ``[3, H, W]``, of a preparation that makes its pixels in its own
        way.
    """
    own = getattr(type(processors), "pixels", None)
    if isinstance(processors, ByteImageProcessor) and own is ByteImageProcessor.pixels:
        return processors.fitted(image)
    return processors.pixels(image)


def normalise(images: Sequence[FittedImage]) -> Tensor:
    """Return a part's input on the images' device, float ``[b, 3, H, W]``.

    Args:
        images: The images, all padded to the same size.
    """
    # said outright, since a trainer of half precision makes another type the default one
    shape, device = (len(images), 3, *images[0].padded), images[0].values.device
    result = torch.empty(shape, dtype=torch.float32, device=device)
    for image, target in zip(images, result, strict=True):
        height, width = image.values.shape[1:]
        target[:, height:] = 0
        target[:, :height, width:] = 0
        _look_up(image, target[:, :height, :width])
    return result


def _look_up(image: FittedImage, target: Tensor) -> None:
    if target.device.type != "cpu":
        return _gather(image, target)
    tables, values, floats = image.normalisation.tables, image.values.numpy(), target.numpy()
    for channel in range(3):
        # every byte has a place, so that "clip" changes nothing but the time: there is no check, and no copy between
        np.take(tables[channel], values[channel], out=floats[channel], mode="clip")


def _gather(image: FittedImage, target: Tensor) -> None:
    """Look the bytes up on any device, which on the processor takes longer than ``np.take``."""
    tables = torch.from_numpy(image.normalisation.tables).to(target.device)
    target.copy_(tables.gather(1, image.values.flatten(1).long()).view(target.shape))
