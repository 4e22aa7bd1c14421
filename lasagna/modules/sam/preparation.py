"""SAM's image preparation, to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lasagna.core.batch import Geometry
from lasagna.core.processors import BytePreparation, FittedImage, Normalisation
from lasagna.modules.resizing import resize_bilinear

MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Mean and standard deviation of red, green and blue, for values from 0 to 255 (arXiv 2304.02643, ``Sam``)."""


@dataclass(frozen=True)
class SamPreparation(BytePreparation):
    """Resize the longest side, keep the aspect ratio, normalise, and pad with zeros at the right and bottom.

    ``PadPreparation`` does nearly the same; this one rounds sides as SAM does (half a pixel goes up) and normalises
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
