"""CLIP's image preparation, to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.geometry import Geometry
from lasagna.core.processors import ByteImageProcessor, FittedImage, Normalisation

LONGEST = 64
"""How many times as long as wide an image is resized as a whole."""


@dataclass(frozen=True)
class CropImageProcessor(ByteImageProcessor):
    """Resize the shortest side (bicubic), cut the middle square out, and normalise (CLIP, arXiv 2103.00020).

    What is left and right of the middle of a wide image, or above and below that of a tall one, is not seen.

    Args:
        side: Height and width of the input in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say that an image of some height and width fills the whole input, by its middle square."""
        shortest = min(size)
        top, left = ((side - shortest) // 2 for side in size)
        seen = None if size[0] == size[1] else (top, left, shortest, shortest)
        return Geometry(original=size, resized=(self.side, self.side), padded=(self.side, self.side), seen=seen)

    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]`` and cut its middle square out."""
        image = _bounded(image)
        shortest = min(image.shape[:2])
        height, width = (int(self.side * side / shortest) for side in image.shape[:2])
        if image.shape[:2] != (height, width):
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        top, left = (height - self.side) // 2, (width - self.side) // 2
        square = image[top : top + self.side, left : left + self.side]
        return FittedImage.of(square, Normalisation(self.mean, self.std, double=True), (self.side, self.side))


def _bounded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Cut the ends of a very long image off, which are not seen in any case, before it is made much larger."""
    limit = LONGEST * min(image.shape[:2])
    top, left = (max(0, side - limit) // 2 for side in image.shape[:2])
    return image[top : image.shape[0] - top, left : image.shape[1] - left]


FINEST = 1 << 12
"""Weights that are multiples of one in twice this number fit the fixed-point numbers of torch, which have 14 bits."""


def resize_bilinear(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image, smoothed where it is made smaller.

    Pillow's pixels are what weights were trained on. Torch is several times as fast, and the same wherever fixed-point
    numbers hold the weights exactly: both then compute one rounded sum along each row, and one along each column.

    Args:
        image: uint8 ``[h, w, 3]``.
        size: Height and width of the result.
    """
    if image.shape[:2] == size:
        return image
    if all(map(_has_exact_weights, image.shape[:2], size)):
        return _resize_by_torch(image, size)
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _resize_by_torch(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    channels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = np.empty((*size, 3), np.uint8)
    # the operator below `interpolate`, which makes a tensor of its own with the channels apart, in more than twice the
    # time. Should a later torch change the operator, `tests/modules/test_image_processors.py` will tell
    torch.ops.aten._upsample_bilinear2d_aa.out(
        channels, size, align_corners=False, out=torch.from_numpy(resized).permute(2, 0, 1)[None]
    )
    return resized


def _has_exact_weights(length: int, resized: int) -> bool:
    """Say whether a side grows by a factor for which each resized pixel lies at a multiple of 1 / (2 FINEST)."""
    return length <= resized and FINEST * length % resized == 0


@dataclass(frozen=True)
class PadImageProcessor(ByteImageProcessor):
    """Resize until the image just fits, keep its aspect ratio, normalise, and pad with zeros at the right and bottom.

    Zeros after normalisation are the mean colour, as SAM does (arXiv 2304.02643, ``Sam.preprocess``).

    Args:
        image_size: Height and width of the input in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say how an image of some height and width will be fitted."""
        scale = min(self.image_size[0] / size[0], self.image_size[1] / size[1])
        height, width = (
            min(limit, max(1, round(side * scale))) for side, limit in zip(size, self.image_size, strict=True)
        )
        return Geometry(original=size, resized=(height, width), padded=self.image_size)

    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]``."""
        resized = self.geometry((image.shape[0], image.shape[1])).resized
        return FittedImage.of(resize_bilinear(image, resized), Normalisation(self.mean, self.std), self.image_size)


@dataclass(frozen=True)
class SquashImageProcessor(ByteImageProcessor):
    """Resize to a fixed size, whatever the aspect ratio, and normalise.

    Args:
        image_size: Height and width of the input in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say how an image of some height and width will be fitted."""
        return Geometry(original=size, resized=self.image_size, padded=self.image_size)

    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]``."""
        return FittedImage.of(self.resized(image), Normalisation(self.mean, self.std), self.image_size)

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image to ``[H, W, 3]``."""
        return resize_bilinear(image, self.image_size)


MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Mean and standard deviation of red, green and blue, for values from 0 to 255 (arXiv 2304.02643, ``Sam``)."""


@dataclass(frozen=True)
class SamImageProcessor(ByteImageProcessor):
    """Resize the longest side, keep the aspect ratio, normalise, and pad with zeros at the right and bottom.

    ``PadImageProcessor`` does nearly the same; this one rounds sides as SAM does (half a pixel goes up) and normalises
    values from 0 to 255, so that every number is the one that SAM's weights were trained with.

    Args:
        side: Height and width of the input in pixels.
    """

    side: int = 1024

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Say how an image of some height and width will be fitted."""
        scale = self.side / max(size)
        height, width = (min(self.side, max(1, int(side * scale + 0.5))) for side in size)
        return Geometry(original=size, resized=(height, width), padded=(self.side, self.side))

    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]``."""
        resized = self.geometry((image.shape[0], image.shape[1])).resized
        rule = Normalisation(MEAN, DEVIATION, unit=False)
        return FittedImage.of(resize_bilinear(image, resized), rule, (self.side, self.side))
