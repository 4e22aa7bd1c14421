"""Binary masks that stay compact until somebody needs their pixels.

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
from lasagna.rle_reading import read_rle

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

    def box(self) -> tuple[float, float, float, float]:
        """Return the bounding box as COCO does: left, top, width, height in pixels."""
        left, top, width, height = coco.toBbox(self.to_json()).tolist()
        return left, top, width, height

    @classmethod
    def from_array(cls, pixels: NDArray[Any]) -> RLEMask:
        """Encode an array ``[H, W]``; whatever is not zero belongs to the mask."""
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
            RecordError: If the coding has another size than the image, does not cover it, or is none of the three.
        """
        try:
            merged = read_rle(code, size)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as fault:
            raise RecordError(f"mask: expected COCO RLE or polygons, got {str(code)[:80]!r} ({fault})") from fault
        mask = cls(int(merged["size"][0]), int(merged["size"][1]), merged["counts"].decode("ascii"))
        if mask.size != tuple(size):
            raise RecordError(f"mask: its size is {mask.size}, that of the image {tuple(size)}; both must agree")
        return mask


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A map of label values for every pixel, decoded at most once.

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
            # many times as fast as sorting all pixels, and twice as fast as numpy counts them
            return tuple(np.flatnonzero(Image.fromarray(self.pixels).histogram()).tolist())
        return tuple(int(value) for value in np.unique(self.pixels))

    def mask(self, values: Sequence[int]) -> LabelMask:
        """Return the mask of the pixels that carry one of the values."""
        return LabelMask(self, tuple(values))


@dataclass(frozen=True, eq=False)
class LabelMask(Mask):
    """The pixels of a label map that carry one of some values.

    Args:
        label_map: The map that many masks share.
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
    """Everything that at least one of some masks covers; nothing when there are none.

    Args:
        masks: The parts, all of the same size.
        shape: Height and width, needed when there are no parts.
    """

    masks: tuple[Mask, ...]
    shape: tuple[int, int] = field(kw_only=True)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.shape

    def decode(self) -> BoolMask:
        """Return the pixels, bool ``[H, W]``."""
        pixels = np.zeros(self.shape, dtype=bool)
        for mask in self.masks:
            pixels |= mask.decode()
        return pixels
