"""Image preparations that encoders share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lasagna.core.batch import Geometry
from lasagna.core.processors import BytePreparation, FittedImage, Normalisation
from lasagna.modules.resizing import resize_bilinear


@dataclass(frozen=True)
class SquashPreparation(BytePreparation):
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
