"""CLIP's image preparation, to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.batch import Geometry
from lasagna.core.processors import BytePreparation, FittedImage, Normalisation

LONGEST = 64
"""How many times as long as wide an image is resized as a whole."""


@dataclass(frozen=True)
class CropPreparation(BytePreparation):
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
