"""Images as a part takes them, but for what is the same for every pixel: their normalisation, and the padding.

A byte a value instead of the four of a float, and nothing for the padding: that is what workers hand over. Where the
part computes, the floats are made, the same to the bit.

Notation: b: images; h, w: size of an image as it was fitted; H, W: a part's input size in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.normalisation import Normalisation
from lasagna.preparations import ImagePreparation
from lasagna.small_tensors import SmallTensors


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


class BytePreparation(ABC):
    """An image preparation that fits the bytes of an image and then normalises them all by one rule."""

    @abstractmethod
    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Fit an image ``[h, w, 3]``, so that only normalisation and padding are left to do."""

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the part's input, float ``[3, H, W]``."""
        return normalise([self.fitted(image)])[0]


def prepare(preparation: ImagePreparation, image: NDArray[np.uint8]) -> Tensor | FittedImage:
    """Prepare an image as far as a worker should: up to its bytes where the preparation ends with a normalisation.

    Args:
        preparation: Of the part.
        image: uint8 ``[h, w, 3]``.

    Returns:
        The fitted image, or the input itself, float ``[3, H, W]``, of a preparation that makes its pixels in its own
        way.
    """
    own = getattr(type(preparation), "pixels", None)
    if isinstance(preparation, BytePreparation) and own is BytePreparation.pixels:
        return preparation.fitted(image)
    return preparation.pixels(image)


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
