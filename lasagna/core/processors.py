"""Processors: from images and texts to the input of a vision encoder and a language model.

Workers send resized images as bytes, without normalisation and padding, a quarter of the floats or less. Normalisation
and padding follow on the device, with results that are equal to the bit.

Notation: b: images; h, w: size of a resized image; H, W: input size of a part in pixels.
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
    """The normalisation of an image's bytes.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        unit: Whether bytes are scaled to [0, 1] first.
        double: Whether to scale by a product in double precision, as transformers does, or by a division.
    """

    mean: Channels
    std: Channels
    unit: bool = True
    double: bool = False

    @property
    def tables(self) -> NDArray[np.float32]:
        """Normalised value of each byte in each channel, float32 ``[3, 256]``."""
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
        """Return the geometry of an image of a given height and width."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Convert an image ``[h, w, 3]`` to the encoder's input, float ``[3, H, W]``."""


class TextProcessor(Protocol):
    """A language model's own tokeniser, which also places the image."""

    @property
    def end_token_id(self) -> int:
        """Token that ends an answer."""

    @property
    def padding_token_id(self) -> int:
        """Token that pads rows."""

    @property
    def max_length(self) -> int:
        """Longest row that the language model takes, in tokens."""

    @property
    def reserved_tokens(self) -> tuple[str, ...]:
        """Tokens with a special meaning, such as the end token; no name and no answer in words may contain them."""

    def prompt_ids(self, text: str) -> list[int]:
        """Convert a prompt to token ids, with a start token if the model has one, and all tokens of the image."""

    def further_ids(self, text: str) -> list[int]:
        """Convert the prompt of a later turn of a conversation to token ids, without start token and image."""

    def answer_ids(self, text: str) -> list[int]:
        """Convert an answer, or a part that ends with a special token, to token ids without an end token."""

    def text(self, token_ids: Sequence[int]) -> str:
        """Convert the token ids of an answer to text, without end and padding tokens."""


@dataclass(frozen=True)
class Processors:
    """The processors that convert images and dialogues to tensors; small, and can be pickled for workers.

    Args:
        image: Processor of the vision encoder's input.
        text: Processor of the language model's input.
        prompt_format: Spelling of queries and answers.
        tower: Processor of the input of the language model's own visual tower, or None if the language model reads the
            vision encoder's features.
    """

    image: ImageProcessor
    text: TextProcessor
    prompt_format: PromptFormat
    tower: ImageProcessor | None = None


LARGEST = 1 << 18
"""Size in bytes up to which a tensor is pickled as a copy instead of through shared memory."""

_KINDS = (torch.bool, torch.uint8, torch.int64, torch.float32)


@dataclass(frozen=True)
class _Copied:
    values: NDArray[Any]


class SmallTensors:
    """Base of classes that pickle their small tensors as copies instead of through shared memory."""

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes, with small tensors as arrays."""
        return {name: _Copied(value.numpy()) if _is_small(value) else value for name, value in vars(self).items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes."""
        for name, value in state.items():
            self.__dict__[name] = torch.from_numpy(value.values) if isinstance(value, _Copied) else value


def _is_small(value: object) -> bool:
    if not isinstance(value, Tensor) or value.device.type != "cpu" or value.requires_grad:
        return False
    return value.dtype in _KINDS and value.nbytes <= LARGEST


@dataclass(frozen=True)
class FittedImage(SmallTensors):
    """An image in the size of a part's input, before normalisation and padding.

    Args:
        values: The image, uint8 ``[3, h, w]``.
        normalisation: Normalisation of its bytes.
        padded: Height and width of the input; padding is zero, at the right and the bottom.
    """

    values: Tensor
    normalisation: Normalisation
    padded: tuple[int, int]

    @classmethod
    def of(cls, image: NDArray[np.uint8], normalisation: Normalisation, padded: tuple[int, int]) -> FittedImage:
        """Wrap an array ``[h, w, 3]``, which is copied if it is read-only or has negative strides."""
        usable = image.flags.writeable and min(image.strides) > 0
        return cls(torch.from_numpy(image if usable else image.copy()).permute(2, 0, 1), normalisation, padded)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> FittedImage:
        """Return the image on another device."""
        return replace(self, values=self.values.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> FittedImage:
        """Return the image in page-locked memory."""
        return replace(self, values=self.values.pin_memory())


class ByteImageProcessor(ABC):
    """An image processor that resizes an image as bytes, and then normalises all bytes by one rule."""

    @abstractmethod
    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]``, and leave normalisation and padding for later."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Convert an image ``[h, w, 3]`` to the part's input, float ``[3, H, W]``."""
        return normalise([self.fitted(image)])[0]


def prepare(processors: ImageProcessor, image: NDArray[np.uint8]) -> Tensor | FittedImage:
    """Process an image as far as a worker should.

    Args:
        processors: The part's image processor.
        image: uint8 ``[h, w, 3]``.

    Returns:
        The resized image of a ``ByteImageProcessor``. Of any other processor, or one that overrides ``pixels``, the
        input itself, float ``[3, H, W]``.
    """
    own = getattr(type(processors), "pixels", None)
    if isinstance(processors, ByteImageProcessor) and own is ByteImageProcessor.pixels:
        return processors.fitted(image)
    return processors.pixels(image)


def normalise(images: Sequence[FittedImage]) -> Tensor:
    """Normalise and pad images to a part's input on their device, float ``[b, 3, H, W]``.

    Args:
        images: The images, all padded to the same size.
    """
    # an explicit type, since trainers in half precision change the default one
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
        # every byte is a valid index, and "clip" skips the check and a copy
        np.take(tables[channel], values[channel], out=floats[channel], mode="clip")


def _gather(image: FittedImage, target: Tensor) -> None:
    """Look the bytes up on any device; on the CPU this is slower than ``np.take``."""
    tables = torch.from_numpy(image.normalisation.tables).to(target.device)
    target.copy_(tables.gather(1, image.values.flatten(1).long()).view(target.shape))
