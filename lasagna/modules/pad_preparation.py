"""The image preparation that keeps the aspect ratio."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lasagna.core.batch import Geometry
from lasagna.core.processors import BytePreparation, FittedImage, Normalisation
from lasagna.modules.resizing import resize_bilinear


@dataclass(frozen=True)
class PadPreparation(BytePreparation):
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
