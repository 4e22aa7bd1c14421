"""Decoding image files."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from lasagna.core.images import Window, to_rgb
from lasagna.errors import RecordError

BROKEN_IMAGE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
"""Errors that Pillow raises on files that are truncated, damaged, or claim an impossible size."""


def image_fault(error: Exception) -> str:
    """Return what is wrong with an image, without the memory address that Pillow writes, which differs in every run.

    Args:
        error: One of ``BROKEN_IMAGE``.
    """
    return "not an image that Pillow reads" if isinstance(error, UnidentifiedImageError) else str(error)


def decode_image(
    data: bytes,
    key: str,
    upright: bool = False,
    size: tuple[int, int] | None = None,
    window: Window | None = None,
) -> NDArray[np.uint8]:
    """Return the pixels of an encoded image of any mode (see ``images.to_rgb``), uint8 ``[H, W, 3]``.

    Annotations of data sets refer to the pixels as stored, so records are never rotated; photographs of users should
    be.

    Args:
        data: The image file.
        key: Its name, for error messages.
        upright: Whether to rotate it as its EXIF tag says.
        size: Height and width that its header must state, or None; compared before the pixels are decoded.
        window: Values that become black and white if the image has more than 8 bits; None for those of all 16 bits.

    Raises:
        RecordError: If it cannot be decoded or has another size.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            check_header(image, key, size)
            return to_rgb(ImageOps.exif_transpose(image) if upright else image, window)
    except RecordError:
        raise
    except BROKEN_IMAGE as error:
        raise RecordError(f"record {key}: the image cannot be decoded ({image_fault(error)})") from error


def checked_size(data: bytes, key: str) -> tuple[int, int]:
    """Return the height and width of an encoded image, after making sure that ``decode_image`` can decode it.

    JPEG is decoded at an eighth of its size, which reads every byte of it in a third of the time.

    Args:
        data: The image file.
        key: Its name, for error messages.

    Raises:
        RecordError: If it cannot be decoded.
    """
    try:
        with Image.open(BytesIO(data)) as image:
            size = (image.height, image.width)
            if image.format in ("JPEG", "MPO"):
                image.draft("L", (1, 1))
                image.load()
                return size
    except BROKEN_IMAGE as error:
        raise RecordError(f"record {key}: the image cannot be decoded ({image_fault(error)})") from error
    height, width = decode_image(data, key).shape[:2]
    return height, width


def check_header(image: Image.Image, key: str, size: tuple[int, int] | None) -> None:
    """Check the size of an image that is open.

    Args:
        image: The image.
        key: Its name, for error messages.
        size: Height and width that its header must state, or None.

    Raises:
        RecordError: If it states another size.
    """
    found = (image.height, image.width)
    if size is not None and found != size:
        raise RecordError(f"record {key}: the image has size {found}, its annotations have {size}; convert it again")
