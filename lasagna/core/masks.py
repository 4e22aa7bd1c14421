"""Binary masks that stay compact until their pixels are needed, and the reading of COCO's mask codings.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco

from lasagna.errors import RecordError

ROUNDING = 1.0
"""Pixels by which corners of polygons may lie outside the image, since annotation tools round."""

FARTHEST = float(1 << 26)
"""Largest coordinate that pycocotools can handle: it multiplies each by five in an int of 32 bits."""

LONGEST = float(1 << 22)
"""Longest outline of a polygon in pixels: pycocotools stores each step of it, in about 40 bytes."""


def too_long(polygon: Any) -> bool:  # noqa: ANN401
    """Return whether rasterising a polygon would exhaust the memory or overflow.

    Args:
        polygon: ``[x0, y0, x1, y1, ...]`` in pixels; False for anything else, which ``read_rle`` refuses.
    """
    try:
        numbers = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        return False
    points = numbers[: len(numbers) // 2 * 2].reshape(-1, 2)
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1, initial=0)
    return bool((np.abs(points) > FARTHEST).any() or steps.sum() > LONGEST)


def reaches_beyond(code: Any, size: tuple[int, int]) -> bool:  # noqa: ANN401
    """Return whether a mask's coding has a polygon with a corner outside the image, which other codings cannot have.

    Args:
        code: Any of COCO's mask codings.
        size: Height and width of the image.
    """
    polygons = code if isinstance(code, list) else []
    return any(_beyond(polygon, size) for polygon in polygons if isinstance(polygon, list) and polygon)


def _beyond(polygon: list[Any], size: tuple[int, int]) -> bool:
    try:
        points = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        return False  # `read_rle` refuses it
    farthest = np.resize(np.asarray(size[::-1], dtype=np.float64), points.shape) + ROUNDING
    return bool((points < -ROUNDING).any() or (points > farthest).any())


_MOST_DIGITS = 7


def read_rle(code: Mapping[str, Any] | Sequence[Sequence[float]], size: tuple[int, int]) -> Any:  # noqa: ANN401
    """Check any of COCO's mask codings and convert it to the compressed one.

    Args:
        code: A compressed or uncompressed RLE object, or a list of polygons ``[x0, y0, x1, y1, ...]``.
        size: Height and width of the image.

    Returns:
        The COCO object ``{"size": [H, W], "counts": bytes}``.

    Raises:
        ValueError: If it is none of the three, or its runs do not cover an image of the size that it states.
        KeyError, TypeError, IndexError, OverflowError: If it has a type that none of the three has.
    """
    if not isinstance(code, Mapping):
        return coco.merge(coco.frPyObjects([_polygon(polygon, size) for polygon in code], *size))
    height, width = (_whole(length) for length in code["size"])
    counts = code["counts"]
    if isinstance(counts, list):
        runs = np.asarray([_whole(run) for run in counts], dtype=np.int64)
        code = {"size": [height, width], "counts": runs.tolist()}
    else:
        counts = counts if isinstance(counts, bytes) else str(counts).encode("ascii")
        runs = run_lengths(counts)
    if runs.sum() != height * width or (runs < 0).any():
        raise ValueError(f"its runs cover {runs.sum()} pixels of {height * width}")
    return coco.frPyObjects(code, height, width) if isinstance(counts, list) else {**code, "counts": counts}


def _whole(value: Any) -> int:  # noqa: ANN401
    if isinstance(value, bool) or int(value) != value:
        raise ValueError(f"its size and its run lengths must be whole numbers, not {value!r}")
    return int(value)


def _polygon(polygon: Sequence[float], size: tuple[int, int]) -> list[float]:
    points = np.asarray(polygon, dtype=np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2:
        raise ValueError("a polygon must be a list of at least three points, x and y in turn")
    # pycocotools walks along each edge pixel by pixel, so a stray coordinate would exhaust the memory
    if not np.isfinite(points).all() or too_long(polygon):
        raise ValueError(f"a polygon's coordinates must be pixels of the image, of size {tuple(size)}")
    return [float(point) for point in points]


def run_lengths(counts: bytes) -> NDArray[np.int64]:
    """Read compressed run lengths (``rleFrString`` in pycocotools, ``common/maskApi.c``).

    pycocotools does not check that the runs cover the mask; it leaves the remaining pixels uninitialised.

    Args:
        counts: Run lengths in COCO's compressed form.

    Returns:
        Lengths of the runs column by column, outside and inside in turn, beginning outside.

    Raises:
        ValueError: If they are not compressed RLE.
    """
    symbols = np.frombuffer(counts, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(symbols & 32 == 0)
    if not len(ends) or ends[-1] != len(symbols) - 1 or (symbols < 0).any() or (symbols > 63).any():
        raise ValueError("its run lengths are not compressed RLE")
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    if digits.max() > _MOST_DIGITS:
        raise ValueError("its run lengths are too large")
    shifts = 5 * (np.arange(len(symbols)) - np.repeat(starts, digits))
    runs = np.add.reduceat((symbols & 31) << shifts, starts)
    runs -= np.where(symbols[ends] & 16, np.int64(1) << 5 * digits, 0)
    # from the fourth on, runs are stored as differences from the last but one
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    return np.asarray(runs)


BoolMask = NDArray[np.bool_]


class Mask(ABC):
    """A mask of a known size that can be decoded."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @abstractmethod
    def decode(self) -> BoolMask:
        """Return the pixels, bool ``[H, W]``."""


@dataclass(frozen=True)
class RLEMask(Mask):
    """A mask as COCO's compressed run-length code.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        counts: Run lengths in COCO's compressed form (``pycocotools``, ``common/maskApi.c``).
    """

    height: int
    width: int
    counts: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def decode(self) -> BoolMask:
        """Return the pixels, bool ``[H, W]``."""
        return np.asarray(coco.decode(self.to_json()), dtype=bool)

    def to_json(self) -> dict[str, Any]:
        """Return the COCO object ``{"size": [H, W], "counts": str}``."""
        return {"size": [self.height, self.width], "counts": self.counts}

    def any(self) -> bool:
        """Return whether the mask has a pixel."""
        return bool(coco.area(self.to_json()))

    def box(self) -> tuple[float, float, float, float]:
        """Return the bounding box as COCO does: left, top, width, height in pixels."""
        left, top, width, height = coco.toBbox(self.to_json()).tolist()
        return left, top, width, height

    @classmethod
    def from_array(cls, pixels: NDArray[Any]) -> RLEMask:
        """Encode an array ``[H, W]``; pixels that are not zero belong to the mask."""
        code = coco.encode(np.asfortranarray(pixels != 0, dtype=np.uint8))
        return cls(pixels.shape[0], pixels.shape[1], code["counts"].decode("ascii"))

    @classmethod
    def from_json(cls, code: Mapping[str, Any] | Sequence[Sequence[float]], size: tuple[int, int]) -> RLEMask:
        """Read any of COCO's mask codings.

        Args:
            code: A compressed or uncompressed RLE object, or a list of polygons ``[x0, y0, x1, y1, ...]``.
            size: Height and width of the image.

        Returns:
            The mask in compressed form.

        Raises:
            RecordError: If the coding differs in size from the image, does not cover it, or is none of the three.
        """
        try:
            merged = read_rle(code, size)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
            raise RecordError(f"mask: expected COCO RLE or polygons, got {str(code)[:80]!r} ({error})") from error
        mask = cls(int(merged["size"][0]), int(merged["size"][1]), merged["counts"].decode("ascii"))
        if mask.size != tuple(size):
            raise RecordError(f"mask: its size is {mask.size}, but the image has {tuple(size)}; both must agree")
        return mask


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A map with one label value per pixel, shared by many masks.

    Args:
        pixels: Label values, integer ``[H, W]``.
    """

    pixels: NDArray[Any]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The label values that occur, ascending."""
        if self.pixels.dtype == np.uint8:
            # many times as fast as np.unique, and twice as fast as np.bincount
            return tuple(np.flatnonzero(Image.fromarray(self.pixels).histogram()).tolist())
        return tuple(int(value) for value in np.unique(self.pixels))

    def mask(self, values: Sequence[int]) -> LabelMask:
        """Return the mask of the pixels that carry one of the values."""
        return LabelMask(self, tuple(values))


@dataclass(frozen=True, eq=False)
class LabelMask(Mask):
    """The pixels of a label map that carry one of some values.

    Args:
        label_map: The map.
        values: The label values that belong to the mask.
    """

    label_map: LabelMap
    values: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.label_map.size

    def decode(self) -> BoolMask:
        """Return the pixels, bool ``[H, W]``."""
        if len(self.values) == 1:
            return np.asarray(self.label_map.pixels == self.values[0])
        return np.isin(self.label_map.pixels, self.values)


@dataclass(frozen=True)
class UnionMask(Mask):
    """The union of masks; empty if there are none.

    Args:
        masks: The masks, all of the same size.
        shape: Height and width in pixels, needed if there are no masks.
    """

    masks: tuple[Mask, ...]
    shape: tuple[int, int] = field(kw_only=True)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape

    def decode(self) -> BoolMask:
        """Return the pixels, bool ``[H, W]``."""
        coded = [mask.to_json() for mask in self.masks if isinstance(mask, RLEMask)]
        if coded and len(coded) == len(self.masks):
            # uniting run lengths is many times as fast as uniting the pixels of many objects
            return np.asarray(coco.decode(coco.merge(coded)), dtype=np.bool_)
        pixels = np.zeros(self.shape, dtype=bool)
        for mask in self.masks:
            pixels |= mask.decode()
        return pixels
