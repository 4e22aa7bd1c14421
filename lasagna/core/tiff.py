"""TIFF files: those that Pillow cannot read as they are stored, and where on a map their pixels lie.

Sources: TIFF 6.0 (Adobe, 1992), BigTIFF, and OGC GeoTIFF 1.1 (19-008r4).
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

_BIG = 43
"""Version in the head of BigTIFF."""

_FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q"}
"""Number of a tag's type to the format of its values in ``struct``; other types are passed over."""

_KIND, _NO_PAGE = 254, 0b101
"""Tag of an image's kind, and its bits for a smaller copy and for a mask."""

_WIDTH, _HEIGHT, _BITS, _SAMPLES = 256, 257, 258, 277
_SCALE, _TIE, _MATRIX, _KEYS, _NODATA = 33550, 33922, 34264, 34735, 42113
_PROJECTED, _GEOGRAPHIC, _RASTER_TYPE = 3072, 2048, 1025
_POINT, _USER_DEFINED = 2, 32767

Tags = Mapping[int, Any]
"""Number of a tag to its values."""


@dataclass(frozen=True)
class Georeference:
    """Where on a map the pixels of an image lie.

    Args:
        transform: Numbers (a, b, c, d, e, f): a point of the image at column x and row y, where the first pixel spans 0
            to 1, lies at a x + b y + c and d x + e y + f on the map.
        crs: The map's coordinate reference system, such as "EPSG:32633", or None if the file does not say.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str | None = None

    def place(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return map coordinates.

        Args:
            points: Columns and rows, ``[..., 2]``.
        """
        a, b, c, d, e, f = self.transform
        placed: NDArray[np.float64] = points @ np.array([[a, d], [b, e]]) + np.array([c, f])
        return placed

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data: "transform" and "crs"."""
        return {"transform": list(self.transform), "crs": self.crs}


def is_tiff(data: bytes) -> bool:
    """Return whether a file is TIFF or BigTIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tags(data: bytes) -> Tags:
    """Return the tags of the first image of a TIFF file.

    Raises:
        ValueError: If it is broken.
    """
    return next(_directories(data))


def _directories(data: bytes) -> Iterator[Tags]:
    """Yield the tags of each image of a TIFF file."""
    order, seen = "<" if data[:2] == b"II" else ">", set[int]()
    try:
        (version,) = struct.unpack_from(f"{order}H", data, 2)
        big = version == _BIG
        entry, head, word = (20, f"{order}HHQ", "Q") if big else (12, f"{order}HHI", "I")
        (start,) = struct.unpack_from(f"{order}{word}", data, 8 if big else 4)
        while not seen or (start and start not in seen):
            seen.add(start)
            (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)
            first = start + (8 if big else 2)
            places = [first + rank * entry for rank in range(min(count, len(data) // entry))]
            yield dict(tag for place in places if (tag := _tag(data, place, head, order, big)) is not None)
            (start,) = struct.unpack_from(f"{order}{word}", data, first + count * entry)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"its tags cannot be read ({error})") from error


def _tag(data: bytes, place: int, head: str, order: str, big: bool) -> tuple[int, Any] | None:
    number, kind, count = struct.unpack_from(head, data, place)
    if kind not in _FORMATS:
        return None
    value, room = place + struct.calcsize(head), 8 if big else 4
    text = f"{order}{count}{_FORMATS[kind]}"
    if struct.calcsize(text) > room:
        (value,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, value)
    if value + struct.calcsize(text) > len(data):
        raise ValueError(f"its tag {number} lies behind the end of the file")
    values = struct.unpack_from(text, data, value)
    return number, values[0].rstrip(b"\0").decode("latin-1") if kind == 2 else values


def _numbers(tags: Tags, tag: int) -> tuple[Any, ...]:
    """Return the numbers of a tag; none if it is missing, or a text."""
    values = tags.get(tag)
    return values if isinstance(values, tuple) else ()


def _depth(tags: Tags) -> tuple[int, int]:
    """Return the number of channels, and the most bits of one."""
    return max(_numbers(tags, _SAMPLES), default=1), max(_numbers(tags, _BITS), default=1)


def read_georeference(data: bytes) -> Georeference | None:
    """Return where on a map the pixels of a GeoTIFF lie, or None if the file does not say, or is no TIFF."""
    if not is_tiff(data):
        return None
    try:
        tags = read_tags(data)
    except ValueError:
        return None
    keys = _geo_keys(tags)
    transform = _transform(tags, 0.5 if keys.get(_RASTER_TYPE) == _POINT else 0.0)
    code = keys.get(_PROJECTED, keys.get(_GEOGRAPHIC))
    known = code is not None and 0 < code < _USER_DEFINED
    return None if transform is None else Georeference(transform, f"EPSG:{code}" if known else None)


def _geo_keys(tags: Tags) -> dict[int, int]:
    """Return the geographic keys whose values stand in the directory itself."""
    directory = _numbers(tags, _KEYS)
    entries = [directory[first : first + 4] for first in range(4, len(directory) - 3, 4)]
    return {key: value for key, location, _, value in entries if location == 0}


def _transform(tags: Tags, shift: float) -> tuple[float, float, float, float, float, float] | None:
    """Return the transform of pixels to the map; ``shift`` is where the first pixel's coordinate lies within it."""
    matrix, scale, tie = (_numbers(tags, tag) for tag in (_MATRIX, _SCALE, _TIE))
    if len(matrix) == 16:
        a, b, c, d, e, f = (matrix[place] for place in (0, 1, 3, 4, 5, 7))
    elif len(scale) >= 2 and len(tie) >= 6:
        a, b, d, e = scale[0], 0.0, 0.0, -scale[1]
        c, f = tie[3] - tie[0] * a, tie[4] - tie[1] * e
    else:
        return None
    return a, b, c - shift * (a + b), d, e, f - shift * (d + e)


def needs_tifffile(data: bytes, last: int = 0) -> bool:
    """Return whether Pillow would not return the pixels of a TIFF file as they are stored.

    Pillow reads up to four channels of 8 bits, and one of up to 32. It returns 8 of the 16 bits of several channels,
    and the first of channels that are images of their own.

    Args:
        data: The file.
        last: The last channel that is wanted, from 0.
    """
    try:
        tags = read_tags(data)
    except ValueError:
        return False
    samples, bits = _depth(tags)
    if samples > 4 or (samples > 1 and bits > 8) or (samples == 1 and last):
        return True
    try:
        with Image.open(BytesIO(data)):
            return False
    except UnidentifiedImageError:
        return True


def check_pages(data: bytes) -> None:
    """Check that a TIFF file has one image, besides smaller copies, masks, and pages of other sizes.

    Args:
        data: The file.

    Raises:
        ValueError: If it has several images of one size.
    """
    sizes = []
    with suppress(ValueError):  # what is broken behind the first image does not matter for it
        for tags in _directories(data):
            if not max(_numbers(tags, _KIND), default=0) & _NO_PAGE:
                sizes.append((_numbers(tags, _WIDTH), _numbers(tags, _HEIGHT)))
    if (count := sizes.count(sizes[0]) if sizes else 0) > 1:
        raise ValueError(
            f"it has {count} images of one size; say which become red, green and blue by `channels`, for example [0] "
            "for the first alone, or store each in a file of its own"
        )


def read_tiff(data: bytes) -> tuple[NDArray[np.generic], float | None]:
    """Return the pixels of the first image of a TIFF file as they are stored, and the value of those without data.

    Returns:
        Values ``[H, W]`` or ``[H, W, C]``, and the number in the tag of GDAL, or None.

    Raises:
        ValueError: If it cannot be read, or the libraries for it are not installed.
        Image.DecompressionBombError: If it has more pixels than Pillow opens.
    """
    tags = read_tags(data)
    height, width = (max(_numbers(tags, tag), default=0) for tag in (_HEIGHT, _WIDTH))
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and height * width > 2 * most:
        raise Image.DecompressionBombError(f"Image size ({height * width} pixels) exceeds limit of {2 * most} pixels")
    try:
        import tifffile
    except ImportError as error:
        samples, bits = _depth(tags)
        raise ValueError(
            f"TIFF of {samples} channels of {bits} bits needs tifffile; install it by pip install 'lasagna[tiff]'"
        ) from error
    log = logging.getLogger("tifffile")
    if not log.handlers:
        log.addHandler(logging.NullHandler())  # what is wrong is in the error; else it would be printed too
    try:
        with tifffile.TiffFile(BytesIO(data)) as file:
            series = file.series[0]
            values, axes = series.asarray(), series.axes
    except Exception as error:  # tifffile raises errors of any kind on files that are damaged
        if "imagecodecs" in str(error):
            raise ValueError(
                f"{error}; install it by pip install imagecodecs, or store the file with DEFLATE or no compression"
            ) from error
        raise ValueError(f"tifffile cannot read it ({error})") from error
    return _channels_last(values, axes), _nodata(tags)


def _channels_last(values: NDArray[np.generic], axes: str) -> NDArray[np.generic]:
    """Return values with the channels as the last axis."""
    if values.ndim == 3 and axes.endswith("YX"):
        return np.moveaxis(values, 0, 2)
    if values.ndim == 2 or (values.ndim == 3 and axes.startswith("YX")):
        return values
    raise ValueError(f"it has the axes {axes} of shape {values.shape}; expected rows, columns and channels")


def _nodata(tags: Tags) -> float | None:
    try:
        return float(tags[_NODATA])
    except (KeyError, ValueError, TypeError):
        return None
