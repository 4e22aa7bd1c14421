"""Pictures of every mode as three channels of 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WHITE = (255, 255, 255, 255)
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of a picture, uint8 ``[H, W, 3]``.

    Grey and palette pictures and those with four inks become RGB as they look. What shines through is put on white, as
    viewers show it. Grey of 16 bits is divided by 257, so that 65535 is 255, and not cut off at 255.

    Args:
        image: The picture; of several frames the one it stands at.

    Raises:
        ValueError: If it is grey of more than 16 bits, or of floating point, whose range nobody knows.
    """
    if image.mode in _DEEP:
        return _from_16_bit(np.asarray(image))
    if image.mode == "F":
        raise ValueError("its values are floating point; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        picture = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _from_16_bit(grey: NDArray[np.integer]) -> NDArray[np.uint8]:
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise ValueError("its values are of more than 16 bits; save it with 8 or 16 bits")
    values = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=2)
