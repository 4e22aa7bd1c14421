"""Image processors: how an image is resized, cropped or padded, and normalised for an encoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.geometry import Geometry
from lasagna.core.processors import ByteImageProcessor, FittedImage, Normalisation

LONGEST = 64
"""Longest aspect ratio that is resized completely; the ends of longer images are cropped first."""


@dataclass(frozen=True)
class CropImageProcessor(ByteImageProcessor):
    """Resize the shortest side (bicubic), crop the central square, and normalise, exactly as CLIP (arXiv 2103.00020).

    The left and right ends of a wide image, or the top and bottom of a tall one, are not seen.

    Args:
        side: Height and width of the input in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Return how an image of a height and width fits: its central square fills the input."""
        shortest = min(size)
        top, left = ((side - shortest) // 2 for side in size)
        seen = None if size[0] == size[1] else (top, left, shortest, shortest)
        return Geometry(original=size, resized=(self.side, self.side), padded=(self.side, self.side), seen=seen)

    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]`` and crop its central square."""
        # the ends of a very long image, which are not seen in any case, are cropped before it is made much larger
        limit = LONGEST * min(image.shape[:2])
        top, left = (max(0, side - limit) // 2 for side in image.shape[:2])
        image = image[top : image.shape[0] - top, left : image.shape[1] - left]
        shortest = min(image.shape[:2])
        height, width = (int(self.side * side / shortest) for side in image.shape[:2])
        if image.shape[:2] != (height, width):
            image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
        top, left = (height - self.side) // 2, (width - self.side) // 2
        square = image[top : top + self.side, left : left + self.side]
        return FittedImage.of(square, Normalisation(self.mean, self.std, double=True), (self.side, self.side))


FINEST = 1 << 12
"""Weights that are multiples of 1 / (2 FINEST) are exact in torch's fixed-point numbers, which have 14 bits."""


def resize_bilinear(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an image with antialiasing.

    Pretrained weights expect Pillow's pixels. Torch is several times as fast, and gives the same pixels wherever
    fixed-point numbers hold the weights exactly: both then compute one rounded sum along each row and each column.

    Args:
        image: uint8 ``[h, w, 3]``.
        size: Height and width of the result.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    if image.shape[:2] == size:
        return image
    # exact where both sides grow by factors for which each resized pixel lies at a multiple of 1 / (2 FINEST)
    sides = zip(image.shape[:2], size, strict=True)
    if all(length <= resized and FINEST * length % resized == 0 for length, resized in sides):
        return _resize_by_torch(image, size)
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _resize_by_torch(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    channels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = np.empty((*size, 3), np.uint8)
    # The operator that `interpolate` calls; `interpolate` itself allocates a planar tensor and takes more than twice as
    # long. If a later torch changes the operator, `tests/modules/test_image_processors.py` fails.
    torch.ops.aten._upsample_bilinear2d_aa.out(
        channels, size, align_corners=False, out=torch.from_numpy(resized).permute(2, 0, 1)[None]
    )
    return resized


@dataclass(frozen=True)
class PadImageProcessor(ByteImageProcessor):
    """Resize an image to fit with its aspect ratio kept, normalise, and pad with zeros at the right and bottom.

    Zeros after normalisation are the mean colour, as in SAM (arXiv 2304.02643, ``Sam.preprocess``).

    Args:
        image_size: Height and width of the input in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Return how an image of a height and width is fitted."""
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
    """Resize to a fixed size, without keeping the aspect ratio, and normalise.

    Args:
        image_size: Height and width of the input in pixels.
        mean: Mean of each channel, for values in [0, 1].
        std: Standard deviation of each channel, for values in [0, 1].
    """

    image_size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Return how an image of a height and width is fitted."""
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
    """Resize the longest side with the aspect ratio kept, normalise, and pad with zeros at the right and bottom.

    Unlike ``PadImageProcessor``, it rounds sides as SAM does (half a pixel up) and normalises values from 0 to 255, so
    that every value is the one that SAM's weights were trained with.

    Args:
        side: Height and width of the input in pixels.
    """

    side: int = 1024

    def geometry(self, size: tuple[int, int]) -> Geometry:
        """Return how an image of a height and width is fitted."""
        scale = self.side / max(size)
        height, width = (min(self.side, max(1, int(side * scale + 0.5))) for side in size)
        return Geometry(original=size, resized=(height, width), padded=(self.side, self.side))

    def fitted(self, image: NDArray[np.uint8]) -> FittedImage:
        """Resize an image ``[h, w, 3]``."""
        resized = self.geometry((image.shape[0], image.shape[1])).resized
        rule = Normalisation(MEAN, DEVIATION, unit=False)
        return FittedImage.of(resize_bilinear(image, resized), rule, (self.side, self.side))
