"""Conversion of images of any mode to three channels of 8 bits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.errors import RecordError

Window = tuple[float, float]
"""Values of a deep image that become black and white."""

_WHITE = (255, 255, 255, 255)
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_FULL = (0.0, 65535.0)
_SPARSE = 4
"""Share of the 16 bits, as its inverse, up to which a deep image is said to waste them."""


class DeepImageWarning(UserWarning):
    """An image of 16 bits uses so few of its values that hardly any greys are left."""


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has more than 8 bits for each pixel of its one channel."""
    return image.mode in _DEEP


def check_window(window: Sequence[float]) -> Window:
    """Check a window of values.

    Args:
        window: The value that becomes black, and the larger one that becomes white.

    Raises:
        RecordError: If it is not two finite numbers in ascending order.
    """
    numbers = all(isinstance(value, (int, float)) and math.isfinite(value) for value in window)
    if not numbers or len(window) != 2 or not window[0] < window[1]:
        raise RecordError(
            f"window: expected (low, high), two numbers with low below high, got {tuple(window)}; low becomes black, "
            "high white"
        )
    return window[0], window[1]


def to_rgb(image: Image.Image, window: Window | None = None) -> NDArray[np.uint8]:
    """Return the pixels of an image, uint8 ``[H, W, 3]``.

    Grey, palette and CMYK images are converted to RGB. Transparent images are composed on white, as viewers show them.
    Grey of more than 8 bits is scaled so that the window becomes 0 to 255; values outside of it become black or white.
    Without a window, it is that of all 16 bits, with a warning if the image uses only a small part of them.

    Args:
        image: The image; of an animation, the current frame is converted.
        window: Values of a deep image that become black and white; images of 8 bits do not change.

    Raises:
        RecordError: If the window is not two numbers in ascending order.
        ValueError: If there is no window, and values have more than 16 bits, or are floating point.
    """
    window = None if window is None else check_window(window)
    if is_deep(image):
        values = np.asarray(image)
        grey = _scaled(values, _full_window(values) if window is None else window)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scaled(values: NDArray[np.number], window: Window) -> NDArray[np.uint8]:
    low, high = window
    shares = (np.nan_to_num(values.astype(np.float64), nan=low) - low) / (high - low)
    return np.asarray(np.rint(255 * shares.clip(0, 1)), dtype=np.uint8)


def _full_window(values: NDArray[np.number]) -> Window:
    """Return the window of all 16 bits, if it suits the values; warn if they use only a small part of it."""
    way_out = "give its window (low, high), or save it with 8 or 16 bits"
    if values.dtype.kind == "f":
        raise ValueError(f"its values are floating point; {way_out}")
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    if low < 0 or high > _FULL[1]:
        raise ValueError(f"its values have more than 16 bits; {way_out}")
    if 0 < _SPARSE * (high - low) <= _FULL[1]:
        # the same text for all images, so that Python shows it once
        warnings.warn(
            "image: the values of an image of 16 bits span a quarter of their range or less, so that few of the 256 "
            "greys are left; give its window (low, high) as `window` of own data, `lasagna predict`, `lasagna serve` "
            "or decode_image",
            DeepImageWarning,
            stacklevel=3,
        )
    return _FULL
