"""Image preparations that encoders share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lasagna.batch import Geometry
from lasagna.modules.value_tables import look_up, value_tables


@dataclass(frozen=True)
class SquashPreparation:
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

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        """Turn an image ``[h, w, 3]`` into the encoder's input, float ``[3, H, W]``."""
        return look_up(self.resized(image), value_tables(self.mean, self.std, unit=True))

    def resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize an image to ``[H, W, 3]``."""
        if image.shape[:2] == self.image_size:
            return image
        height, width = self.image_size
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
