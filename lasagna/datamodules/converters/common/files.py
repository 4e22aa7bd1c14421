"""Find and read the files of a data set; photographs are turned upright where their annotations were drawn so."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lasagna.core.image_files import BROKEN_IMAGE, checked_size, decode_image, image_fault
from lasagna.core.images import Window, is_deep, to_rgb
from lasagna.core.tiff import is_tiff
from lasagna.datamodules.shards.codec import image_extension
from lasagna.errors import LasagnaError, RecordError

MOST_LISTED = 5
"""How many names of a long list a message shows."""

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture must be turned."""


Exif = Literal["ask", "stored", "seen"]
"""How an image with an EXIF turn was annotated: as its pixels are stored, as viewers show it, or ask the user."""


class LayoutError(LasagnaError, OSError):
    """A folder does not have the layout of the data set's release."""


def shorten(names: Sequence[str]) -> str:
    """Return the first few names, followed by dots if there are more."""
    return ", ".join(names[:MOST_LISTED]) + (", ..." if len(names) > MOST_LISTED else "")


def first_folder(places: Sequence[Path], wanted: str) -> Path:
    """Return the first of several folders that exists.

    Args:
        places: Where it may be.
        wanted: What is looked for and the expected tree, for the message.

    Raises:
        LayoutError: If none of them exists.
    """
    for place in places:
        if place.is_dir():
            return place
    raise LayoutError(f"source: there is no {' or '.join(map(str, places))}; expected{wanted}")


def text_lines(path: Path) -> list[str]:
    """Return the lines of a small text file.

    Raises:
        LayoutError: If it cannot be read or is not text.
    """
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path}: the file cannot be read as text ({error}); unpack it again") from error


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        RecordError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: the file cannot be read ({error.strerror})") from error


def read_image_file(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return an image file unchanged, and its height and width; it is decoded to make sure that it can be.

    Args:
        path: The file.

    Raises:
        RecordError: If it is missing, cannot be decoded, or has a format that shards cannot hold.
    """
    data = read_file(path)
    return data, _size(data, str(path))


def _size(data: bytes, where: str) -> tuple[int, int]:
    # which channels and values are seen is decided when the image is stored
    size = checked_size(data, where)
    if not is_tiff(data):
        image_extension(data, where)
    return size


def read_upright_image_file(path: Path, window: Window | None = None) -> tuple[bytes, tuple[int, int]]:
    """Return an image file that needs no turning, and its height and width.

    An upright file stays as it is. A file that an EXIF tag turns is encoded again, as JPEG of quality 95 if it was
    JPEG, else as PNG. With a window, a file of more than 8 bits is encoded as PNG of 8 bits.

    Args:
        path: The file.
        window: Values that become black and white if the image has more than 8 bits; None to keep the file.

    Raises:
        RecordError: If it is missing or cannot be decoded.
    """
    if window is None:
        return upright(*read_image_file(path))
    data = read_file(path)
    pixels = decode_image(data, str(path), upright=True, window=window)
    if is_tiff(data):
        return png_of_pixels(pixels), (pixels.shape[0], pixels.shape[1])
    with Image.open(BytesIO(data)) as image:
        if not is_deep(image):
            return upright(*read_image_file(path))
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, "PNG")
    return buffer.getvalue(), (pixels.shape[0], pixels.shape[1])


def read_annotated_image_file(
    path: Path, stated: tuple[int, int] | None, exif: Exif = "stored"
) -> tuple[bytes, tuple[int, int]]:
    """Return an image file of the size that its annotations state, and its height and width.

    A file of this size stays as it is. A file that has this size only after its EXIF tag is applied was annotated
    upright, and is stored upright.

    Args:
        path: The file.
        stated: Height and width that the annotations state, or None if they state no size.
        exif: How an image was annotated whose EXIF tag turns it and whose stated size does not tell.

    Raises:
        RecordError: If it is missing, cannot be decoded, or has another size; with "ask", if the size does not tell.
    """
    return annotated_image(read_file(path), str(path), stated, exif)


def annotated_image(
    data: bytes, where: str, stated: tuple[int, int] | None, exif: Exif = "stored"
) -> tuple[bytes, tuple[int, int]]:
    """Return an image of the size that its annotations state, as ``read_annotated_image_file`` does.

    Args:
        data: The image file.
        where: What it is, for messages.
        stated: Height and width that the annotations state, or None if they state no size.
        exif: How an image was annotated whose EXIF tag turns it and whose stated size does not tell.

    Raises:
        RecordError: If it cannot be decoded, or has another size; with "ask", if the size does not tell.
    """
    size = _size(data, where)
    if stated is None or size == stated:
        if exif == "stored" or not is_turned(data):
            return data, size
        if exif == "ask":
            raise RecordError(
                f"{where}: its EXIF tag turns the image, and the annotation file does not tell whether masks were "
                "drawn on it as viewers show it or as it is stored; convert into a new folder with `--exif seen` "
                "(Label Studio, CVAT, Supervisely and all tools in a browser) or `--exif stored`"
            )
        return upright(data, size)
    turned = upright(data, size)
    if turned[1] != stated:
        raise RecordError(
            f"{where}: the image has height and width {size}, but its annotations were made for {stated}; replace it "
            "by the image that was annotated, or correct the size in the annotation file"
        )
    return turned


def upright(data: bytes, size: tuple[int, int]) -> tuple[bytes, tuple[int, int]]:
    """Turn an image file as its EXIF tag says; a file without the tag stays as it is.

    Args:
        data: The image file, which can be decoded.
        size: Its height and width before turning.

    Returns:
        The file, and its height and width.
    """
    if not is_turned(data):
        return data, size
    with Image.open(BytesIO(data)) as image:
        kind, picture, buffer = image.format, ImageOps.exif_transpose(image), BytesIO()
    Image.fromarray(to_rgb(picture)).save(
        buffer, "JPEG" if kind == "JPEG" else "PNG", quality=95, subsampling=0, exif=b""
    )
    return buffer.getvalue(), (picture.height, picture.width)


def is_turned(data: bytes) -> bool:
    """Return whether an EXIF tag turns or mirrors an image file, which can be decoded."""
    try:
        with Image.open(BytesIO(data)) as image:
            return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except BROKEN_IMAGE:
        return False


def read_label_file(path: Path, mode: str | None = None) -> NDArray[np.uint8]:
    """Return the pixels of a label file as stored, or converted to a Pillow mode.

    Args:
        path: The file.
        mode: E.g. "RGB"; None keeps the stored values (a palette is not applied).

    Raises:
        RecordError: If it cannot be decoded, or is stored as JPEG, which changes pixels.
    """
    return label_pixels(path, str(path), mode)


def label_pixels(source: Path | BytesIO, where: str, mode: str | None = None) -> NDArray[np.uint8]:
    """Return the pixels of a label file as ``read_label_file`` does.

    Args:
        source: The file, or its content.
        where: What it is, for messages.
        mode: E.g. "RGB"; None keeps the stored values (a palette is not applied).

    Raises:
        RecordError: If it cannot be decoded, or is stored as JPEG, which changes pixels.
    """
    try:
        with Image.open(source) as image:
            kind, pixels = image.format, np.asarray(image if mode in (None, image.mode) else image.convert(mode))
    except BROKEN_IMAGE as error:
        raise RecordError(f"{where}: the label file cannot be decoded ({image_fault(error)})") from error
    if kind in ("JPEG", "MPO"):
        raise RecordError(f"{where}: masks and labels stored as JPEG have wrong pixels; export them as PNG")
    return pixels


def png_of_pixels(pixels: NDArray[np.uint8]) -> bytes:
    """Return an image ``[H, W, 3]`` as PNG, of one channel if it is grey."""
    is_grey = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if is_grey else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def png_of(labels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return a label map ``[H, W]`` as PNG with one channel of 8 or 16 bits.

    Pillow filters the rows of every grey image, which suits photographs; labels are smaller without, and are written
    and read in half of the time.
    """
    height, width = labels.shape
    rows = np.zeros((height, 1 + width * labels.itemsize), np.uint8)  # a byte for the filter, which is none, leads each
    rows[:, 1:] = np.ascontiguousarray(labels, labels.dtype.newbyteorder(">")).view(np.uint8).reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8 * labels.itemsize, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), level=_PNG_LEVEL)), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


_PNG_LEVEL = 5
"""Level of compression of label maps: as small as Pillow's, in half of the time."""
