"""Bodies of requests and the images in them, read in memory and within limits."""

from __future__ import annotations

import asyncio
import base64
import binascii
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile
from pydantic_core import from_json
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from lasagna.core.images import Window, to_rgb
from lasagna.serving.limits import Limits, RequestError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats of images that are read, by Pillow's names; fewer decoders are fewer ways in."""

_PAGES = 8
"""Most images of a file that are looked at."""

_NO_PAGE = 0b101
"""Bits of TIFF's tag 254: a smaller copy, and a mask."""

JSON_FIELDS = ("queries", "threshold", "thresholds", "history", "stream", "images", "masks_on")
"""Fields of a form that hold JSON; the others are texts."""


class MemoryParser(MultiPartParser):
    """A parser of forms that never writes a file to the disk."""

    spool_max_size = sys.maxsize


async def read_body(request: Request, limits: Limits) -> bytes:
    """Read the body of a request.

    Raises:
        RequestError: If it is too large or comes too slowly.
    """
    too_large = RequestError(413, f"body: at most {limits.body} bytes are read; send a smaller image")
    stated = request.headers.get("content-length", "0")
    if not stated.isdecimal() or len(stated) > 18 or int(stated) > limits.body:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    raise too_large
    except TimeoutError as error:
        raise RequestError(408, f"body: it did not arrive within {limits.seconds:g} s; send it again") from error
    except ClientDisconnect as error:
        raise RequestError(400, "body: the connection was closed before its end") from error
    return bytes(body)


async def read_form(headers: Headers, body: bytes, most: int) -> tuple[dict[str, Any], list[bytes]]:
    """Read a form.

    Args:
        headers: The headers of its request, which state how its parts are divided.
        body: The body of the request.
        most: Most files.

    Returns:
        The fields, and the files of the field "image" in order.

    Raises:
        RequestError: If it is not a form, has a field twice, or has another file or too many.
    """

    async def once() -> AsyncIterator[bytes]:
        yield body

    parser = MemoryParser(headers, once(), max_files=most, max_fields=16, max_part_size=len(body))  # type: ignore[arg-type]
    try:
        form = await parser.parse()
        names = [name for name, value in form.multi_items() if isinstance(value, str)]
        fields = {name: _field(name, value) for name, value in form.multi_items() if isinstance(value, str)}
    except (MultiPartException, ValueError, LookupError) as error:
        if "Too many files" in str(error):
            raise RequestError(422, f"image: too many files; show at most {most} together") from error
        raise RequestError(422, "body: it is not a form of multipart/form-data with texts and JSON") from error
    files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(set(names)) < len(names) or any(name != "image" or name in names for name, _ in files):
        raise RequestError(422, "body: give each field of the form once, and no file but `image`")
    read = []
    for _, upload in files:
        with closing(upload.file) as file:
            read.append(file.read())
    return fields, read


def _field(name: str, value: str) -> Any:  # noqa: ANN401
    try:
        return from_json(value) if name in JSON_FIELDS else value
    except ValueError as error:
        raise RequestError(422, f"{name}: it is not JSON ({error}); texts in it stand in double quotes") from error


def read_base64(text: str) -> bytes:
    """Return the bytes that a text in base64 stands for; line breaks in it are skipped.

    Raises:
        RequestError: If it is anything else.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(422, "image: expected an image file in base64; addresses and paths are not read") from error


def read_images(files: Iterable[bytes], limits: Limits, window: Window | None = None) -> list[NDArray[np.uint8]]:
    """Return the pixels of image files that are shown together, each as of ``read_image``.

    Args:
        files: The files.
        limits: How many pixels they may have together.
        window: As of ``read_image``.

    Raises:
        RequestError: If they have too many pixels or one cannot be read.
    """
    read, left = list[NDArray[np.uint8]](), limits.pixels
    for data in files:
        read.append(read_image(data, left, window))
        left -= read[-1].shape[0] * read[-1].shape[1]
    return read


def read_image(data: bytes, pixels: int, window: Window | None = None) -> NDArray[np.uint8]:
    """Return the pixels of an image file, rotated as its EXIF tag says, uint8 ``[H, W, 3]``.

    Args:
        data: The file.
        pixels: Most pixels that it may have.
        window: Values that become black and white if the image has more than 8 bits; None for those of all 16 bits.

    Raises:
        RequestError: If it has too many pixels or cannot be read.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height <= pixels:
                _check_pages(image)
                return to_rgb(ImageOps.exif_transpose(image), window)
    except RequestError:
        raise
    except Image.DecompressionBombError:
        pass
    except Exception as error:
        # files that are made to break a decoder raise errors of any kind
        raise RequestError(422, f"image: not an image that can be read; send one of {', '.join(FORMATS)}") from error
    raise RequestError(413, f"image: at most {pixels} pixels are decoded; send a smaller one")


def _check_pages(image: Image.Image) -> None:
    """Refuse a TIFF file with several images of one size, besides masks and smaller copies, as commands do.

    Only some pages are looked at, since a file can have as many as it has bytes.
    """
    if not isinstance(image, TiffImageFile):
        return
    size, pages = image.size, 1
    try:
        for page in range(1, _PAGES):
            image.seek(page)
            pages += image.size == size and not image.tag_v2.get(254, 0) & _NO_PAGE
    except Exception:
        # what is broken behind the first image does not matter for it
        pass
    image.seek(0)
    if pages > 1:
        raise RequestError(422, f"image: it has {pages} images of one size; send a file of one")
