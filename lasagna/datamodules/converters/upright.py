"""Photographs that lie on their side and say so, where the annotations were drawn on the upright picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from lasagna.datamodules.converters.files import read_image_file
from lasagna.record import BROKEN_IMAGE

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned."""


def read_upright_image_file(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return an image file that needs no turning, and its height and width.

    A file that is upright stays as it is. One that an EXIF tag turns is stored anew: JPEG at quality 95, all else PNG.

    Args:
        path: The file.

    Raises:
        RecordError: If it is missing or cannot be decoded.
    """
    data, size = read_image_file(path)
    return upright(data, size)


def upright(data: bytes, size: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
    """Turn an image file as its EXIF tag says; one without stays as it is.

    Args:
        data: The image file, which can be decoded.
        size: Its height and width as it lies.

    Returns:
        The file, and its height and width.
    """
    with Image.open(BytesIO(data)) as image:
        try:
            turned = image.getexif().get(ORIENTATION, 1) != 1
        except BROKEN_IMAGE:
            turned = False
        if not turned:
            return data, size
        kind, picture, buffer = image.format, ImageOps.exif_transpose(image), BytesIO()
    picture.convert("RGB").save(buffer, "JPEG" if kind == "JPEG" else "PNG", quality=95, subsampling=0, exif=b"")
    return buffer.getvalue(), (picture.height, picture.width)
