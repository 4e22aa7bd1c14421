"""Photographs that lie on their side and say so, where the annotations were drawn on the upright picture."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from lasagna.core.record import BROKEN_IMAGE
from lasagna.datamodules.converters.common.files import read_image_file
from lasagna.errors import RecordError

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


def read_annotated_image_file(path: Path, said: tuple[int, int] | None) -> tuple[bytes, tuple[int, int]]:
    """Return an image file of the size that its annotations say, and its height and width.

    A file of this size stays as it is. One that has it only when an EXIF tag turns it was annotated upright, and is
    stored so.

    Args:
        path: The file.
        said: Height and width that the annotations say, or None if they do not.

    Raises:
        RecordError: If it is missing, cannot be decoded, or is of another size.
    """
    data, size = read_image_file(path)
    if said is None or size == said:
        return data, size
    turned = upright(data, size)
    if turned[1] != said:
        raise RecordError(
            f"{path}: the image is of height and width {size}, and was annotated as one of {said}; put the image that "
            "was annotated there, or correct the size in the annotation file"
        )
    return turned


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
