"""Decoding image files."""

from __future__ import annotations

import os
import struct
import warnings
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lasagna.core.images import Channels, Window, to_rgb, values_to_rgb
from lasagna.core.tiff import check_pages, is_tiff, needs_tifffile, read_tiff
from lasagna.errors import ConfigError, RecordError

BROKEN_IMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)
"""Errors that Pillow raises on files that are truncated, damaged, or claim an impossible size."""

MOST_PIXELS = "LASAGNA_MAX_PIXELS"
"""Environment variable with the most pixels of an image that is decoded; without it, Pillow's limit holds."""


def apply_pixel_limit() -> None:
    """Let Pillow decode as many pixels as the environment variable says, if it is set.

    Raises:
        ConfigError: If it is not a positive whole number.
    """
    if not (text := os.environ.get(MOST_PIXELS)):
        return
    if not text.isdecimal() or not int(text):
        raise ConfigError(f"{MOST_PIXELS}: expected the most pixels of an image, such as 400000000, got {text!r}")
    # Pillow warns from its limit on, and refuses from twice that on
    Image.MAX_IMAGE_PIXELS = (int(text) + 1) // 2
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


apply_pixel_limit()


def image_fault(error: Exception) -> str:
    """Return what is wrong with an image, without the memory address that Pillow writes, which differs in every run.

    Args:
        error: One of ``BROKEN_IMAGE``.
    """
    if isinstance(error, Image.DecompressionBombError):
        reason = str(error).removesuffix(", could be decompression bomb DOS attack.")
        return f"{reason}; if you trust it, set {MOST_PIXELS}=1000000000 in the environment, or cut it into parts"
    return "not an image that Pillow reads" if isinstance(error, UnidentifiedImageError) else str(error)


def decode_image(
    data: bytes,
    key: str,
    upright: bool = False,
    size: tuple[int, int] | None = None,
    window: Window | None = None,
    channels: Channels | None = None,
) -> NDArray[np.uint8]:
    """Return the pixels of an encoded image of any mode (see ``images.to_rgb``), uint8 ``[H, W, 3]``.

    Annotations of data sets refer to the pixels as stored, so records are never rotated; photographs of users should
    be. TIFF files that Pillow does not read as they are stored are read by tifffile, which the extra "tiff" installs.

    Args:
        data: The image file.
        key: Its name, for error messages.
        upright: Whether to rotate it as its EXIF tag says.
        size: Height and width that its header must state, or None; compared before the pixels are decoded.
        window: Values that become black and white if the image has more than 8 bits, or percentages of its pixels; None
            for those of all 16 bits.
        channels: Channels that become red, green and blue, or the one that becomes grey; None for those of one or
            three channels.

    Raises:
        RecordError: If it cannot be decoded, has another size, or has no such channel or
            several images of one size.
    """
    try:
        if is_tiff(data) and needs_tifffile(data, max(channels or [0])):
            values, nodata = read_tiff(data)
            _check_size((values.shape[0], values.shape[1]), key, size)
            return values_to_rgb(values, window, channels, nodata)
        with Image.open(BytesIO(data)) as image:
            check_header(image, key, size)
            if channels is None and is_tiff(data):
                check_pages(data)
            if upright:
                ImageOps.exif_transpose(image, in_place=True)  # elsewhere it is a copy, also of upright images
            return to_rgb(image, window, channels)
    except RecordError as error:
        if str(error).startswith("record "):
            raise
        raise RecordError(f"record {key}: {error}") from error
    except BROKEN_IMAGE as error:
        raise RecordError(f"record {key}: the image cannot be decoded ({image_fault(error)})") from error


def checked_size(data: bytes, key: str) -> tuple[int, int]:
    """Return the height and width of an encoded image, after making sure that its pixels can be decoded.

    JPEG is decoded at an eighth of its size, which reads every byte of it in a third of the time.

    Args:
        data: The image file.
        key: Its name, for error messages.

    Raises:
        RecordError: If it cannot be decoded.
    """
    try:
        if is_tiff(data) and needs_tifffile(data):
            shape = read_tiff(data)[0].shape
            return shape[0], shape[1]
        with Image.open(BytesIO(data)) as image:
            size = (image.height, image.width)
            if image.format in ("JPEG", "MPO"):
                image.draft("L", (1, 1))
            image.load()
            return size
    except BROKEN_IMAGE as error:
        raise RecordError(f"record {key}: the image cannot be decoded ({image_fault(error)})") from error


def check_header(image: Image.Image, key: str, size: tuple[int, int] | None) -> None:
    """Check the size of an image that is open.

    Args:
        image: The image.
        key: Its name, for error messages.
        size: Height and width that its header must state, or None.

    Raises:
        RecordError: If it states another size.
    """
    _check_size((image.height, image.width), key, size)


def _check_size(found: tuple[int, int], key: str, size: tuple[int, int] | None) -> None:
    if size is not None and found != size:
        raise RecordError(f"record {key}: the image has size {found}, its annotations have {size}; convert it again")
