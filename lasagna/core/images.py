"""Conversion of images of any mode, depth and number of channels to three channels of 8 bits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.errors import RecordError

Window = tuple[float, float] | tuple[str, str]
"""Values of a deep image that become black and white, or shares of its pixels that become so, such as "2%", "98%"."""

Channels = Sequence[int]
"""Channels that become red, green and blue, or the one that becomes grey, counted from 0."""

_WHITE = (255, 255, 255, 255)
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_FULL = (0.0, 65535.0)
_SPARSE = 4
"""Share of the 16 bits, as its inverse, up to which a deep image is said to waste them."""

_SAMPLED = 1 << 20
"""Number of pixels about which percentiles are computed."""

_AT_ONCE = 1 << 22
"""Pixels that are scaled or copied at a time; scaling takes 16 bytes for each."""


class DeepImageWarning(UserWarning):
    """An image of 16 bits uses so few of its values, or so few within its window, that hardly any greys are left."""


def is_deep(image: Image.Image) -> bool:
    """Return whether an image has more than 8 bits for each pixel of its one channel."""
    return image.mode in _DEEP


def check_window(window: Sequence[float | str]) -> Window:
    """Check a window of values.

    Args:
        window: The value that becomes black, and the larger one that becomes white; or two percentages of the pixels,
            as texts such as "2%" and "98%".

    Raises:
        RecordError: If it is neither two finite numbers nor two percentages in ascending order.
    """
    given = tuple(window)
    ends = [_percentage(end) if isinstance(end, str) else end for end in given]
    numbers = all(isinstance(end, (int, float)) and math.isfinite(end) for end in ends)
    kinds = {isinstance(end, str) for end in given}
    if not numbers or len(ends) != 2 or not ends[0] < ends[1] or len(kinds) > 1:
        raise RecordError(
            f"window: expected (low, high), two numbers with low below high, got {given}; low becomes black, high "
            'white; or two percentages of the pixels from 0 to 100, such as ("2%", "98%")'
        )
    return (str(given[0]), str(given[1])) if str in map(type, given) else (ends[0], ends[1])


def check_channels(channels: Channels) -> tuple[int, ...]:
    """Check a choice of channels, as far as is possible without an image.

    Args:
        channels: The channels that become red, green and blue, or the one that becomes grey, counted from 0.

    Raises:
        RecordError: If they are not one or three whole numbers of at least 0.
    """
    given = tuple(channels)
    if len(given) not in (1, 3) or not all(type(one) is int and one >= 0 for one in given):
        raise RecordError(
            f"channels: expected three channels that become red, green and blue, or one that becomes grey, each a "
            f"whole number from 0, got {list(given)}; for example [2, 1, 0]"
        )
    return given


def to_rgb(image: Image.Image, window: Window | None = None, channels: Channels | None = None) -> NDArray[np.uint8]:
    """Return the pixels of an image, uint8 ``[H, W, 3]``.

    Grey, palette and CMYK images are converted to RGB. Transparent images are composed on white, as viewers show them.
    Grey of more than 8 bits is scaled so that the window becomes 0 to 255; values outside of it become black or white.
    Without a window, it is that of all 16 bits, with a warning if the image uses only a small part of them.

    Args:
        image: The image; of an animation, the current frame is converted.
        window: Values of a deep image that become black and white; images of 8 bits do not change.
        channels: The channels that are seen, as they are stored; None for all colours.

    Raises:
        RecordError: If the window is not two numbers or percentages in ascending order, or there is no such channel.
        ValueError: If there is no window, and values have more than 16 bits, or are floating point.
    """
    if is_deep(image) or channels is not None:
        return values_to_rgb(np.asarray(image), window, channels)
    if window is not None:
        check_window(window)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer)
    return _pixels(image if image.mode == "RGB" else image.convert("RGB"))


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels of an image; large ones in parts, since Pillow holds two copies meanwhile."""
    if image.width * image.height <= _AT_ONCE:
        return np.asarray(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _AT_ONCE // image.width)
    for first in range(0, image.height, rows):
        part = pixels[first : first + rows]
        part[:] = np.asarray(image.crop((0, first, image.width, first + len(part))))
    return pixels


def values_to_rgb(
    values: NDArray[np.generic],
    window: Window | None = None,
    channels: Channels | None = None,
    nodata: float | None = None,
) -> NDArray[np.uint8]:
    """Return the pixels of an image of any depth and number of channels, uint8 ``[H, W, 3]``.

    Args:
        values: The values as they are stored, ``[H, W]`` or ``[H, W, C]``.
        window: Values that become black and white; percentages are of each channel by itself. Images of 8 bits do not
            change.
        channels: The channels that become red, green and blue, or the one that becomes grey. None for all of one or
            three channels.
        nodata: Value of pixels without data, which do not count for percentages.

    Raises:
        RecordError: If the window or the channels are no such things, or there is no such channel.
        ValueError: If there are another number of channels and no choice; or if there is no window, and values have
            more than 16 bits, or are floating point.
    """
    planes = values[..., None] if values.ndim == 2 else values
    window = None if window is None else check_window(window)
    chosen = _chosen(planes.shape[2], channels)
    if planes.dtype in (np.uint8, np.bool_):
        picked = planes[..., list(chosen)].astype(np.uint8, copy=False)
        pixels = picked * np.uint8(255) if planes.dtype == np.bool_ else picked
        return np.repeat(pixels, 3, axis=2) if len(chosen) == 1 else pixels
    if planes.dtype.kind not in "uif":
        raise ValueError(f"its values are {planes.dtype}; save it with 8 or 16 bits")
    if window is None:
        window = _full_window(planes[..., list(chosen)])
    pixels = np.empty((*planes.shape[:2], 3), np.uint8)
    for place, channel in enumerate(chosen):
        plane = planes[..., channel]
        _scale(plane, _ends(plane, window, nodata), pixels[..., place])
    if len(chosen) == 1:
        pixels[..., 1:] = pixels[..., :1]
    return pixels


def _percentage(text: str) -> float:
    """Return the number of a percentage, or NaN if the text is none."""
    try:
        number = float(text.removesuffix("%")) if text.endswith("%") else math.nan
    except ValueError:
        return math.nan
    return number if 0 <= number <= 100 else math.nan


def _chosen(count: int, channels: Channels | None) -> tuple[int, ...]:
    if channels is None:
        if count not in (1, 3):
            raise ValueError(
                f"it has {count} channels; say which become red, green and blue by `channels`, for example [2, 1, 0]"
            )
        return tuple(range(count))
    chosen = check_channels(channels)
    if missing := [one for one in chosen if one >= count]:
        raise RecordError(
            f"channels: there is no channel {missing[0]} in an image of {count} channels; they are counted from 0, so "
            f"give 0 to {count - 1}"
        )
    return chosen


def _ends(values: NDArray[np.generic], window: Window, nodata: float | None) -> tuple[float, float]:
    """Return the values of a channel that become black and white."""
    low, high = window
    if isinstance(low, str) or isinstance(high, str):
        step = max(1, math.isqrt(values.size // _SAMPLED))
        sample = values[::step, ::step].astype(np.float64).ravel()
        sample = sample[np.isfinite(sample) & (True if nodata is None else sample != nodata)]
        if not sample.size:
            return _FULL
        first, last = np.percentile(sample, [_percentage(str(low)), _percentage(str(high))]).tolist()
        return (first, last) if first < last else (first, first + 1)
    if values.size and (np.nanmax(values) <= low or np.nanmin(values) >= high):
        # the same text for all images, so that Python shows it once
        warnings.warn(
            "image: all values of an image lie outside of its window (low, high), so that it is black or white "
            'everywhere; give another window, or percentages such as ["2%", "98%"]',
            DeepImageWarning,
            stacklevel=4,
        )
    return low, high


def _scale(values: NDArray[np.generic], ends: tuple[float, float], pixels: NDArray[np.uint8]) -> None:
    """Scale the values of a channel to 0 to 255, in parts, since the numbers between take eight times the memory."""
    low, high = ends
    rows = max(1, _AT_ONCE // max(1, values.shape[1]))
    for first in range(0, len(values), rows):
        part = np.nan_to_num(values[first : first + rows].astype(np.float64), nan=low)
        pixels[first : first + rows] = np.rint(255 * ((part - low) / (high - low)).clip(0, 1))


def _full_window(values: NDArray[np.generic]) -> tuple[float, float]:
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
            "greys are left; give its window (low, high) as `window` of own data, `lasagna convert`, `lasagna "
            "predict`, `lasagna serve` or decode_image",
            DeepImageWarning,
            stacklevel=4,
        )
    return _FULL
