"""Changes of colours, which leave the masks as they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lasagna.core.record import Record
from lasagna.datamodules.transforms.base import RecordTransform, encode_image

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in the brightness (ITU-R BT.601)."""


class ColourJitter(RecordTransform):
    """Changes brightness, contrast and saturation slightly; hues stay, so that names of colours still hold.

    All images of a record are changed alike, each pixel as the same one of the annotated image would be.

    Args:
        brightness: Largest relative change of the brightness.
        contrast: Largest relative change of the contrast.
        saturation: Largest relative change of the saturation.

    Raises:
        ValueError: If a change is not in [0, 1].
    """

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2) -> None:
        for name, share in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not 0 <= share <= 1:
                raise ValueError(f"ColourJitter: `{name}` must be in [0, 1], got {share}")
        self.limits = np.array([brightness, contrast, saturation])

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record with changed colours."""
        brightness, contrast, saturation = (1 + self.limits * rng.uniform(-1, 1, size=3)).astype(np.float32)
        image = record.image()
        mean = (brightness * image.astype(np.float32) @ GREY).mean()

        def changed(image: NDArray[np.uint8]) -> bytes:
            pixels = _blend(brightness * image.astype(np.float32), mean, contrast)
            pixels = _blend(pixels, (pixels @ GREY)[..., None], saturation)
            return encode_image(pixels.round().clip(0, 255).astype(np.uint8))

        return replace(record, image_bytes=changed(image), others=tuple(map(changed, record.other_images())))


def _blend(
    pixels: NDArray[np.float32], other: NDArray[np.float32] | np.float32, share: np.float32
) -> NDArray[np.float32]:
    return other + share * (pixels - other)
