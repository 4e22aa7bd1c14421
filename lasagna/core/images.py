"""Conversion of images of any mode to three channels of 8 bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_WHITE = (255, 255, 255, 255)
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image, uint8 ``[H, W, 3]``.

    Grey, palette and CMYK images are converted to RGB. Transparent images are composed on white, as viewers show them.
    Grey of 16 bits is divided by 257, so that 65535 becomes 255, rather than clipped at 255.

    Args:
        image: The image; of an animation, the current frame is converted.

    Raises:
        ValueError: If its values have more than 16 bits, or are floating point, whose range is unknown.
    """
    if image.mode in _DEEP:
        grey = np.asarray(image)
        if grey.size and (grey.min() < 0 or grey.max() > 65535):
            raise ValueError("its values have more than 16 bits; save it with 8 or 16 bits")
        return np.repeat(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("its values are floating point; save it with 8 or 16 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
