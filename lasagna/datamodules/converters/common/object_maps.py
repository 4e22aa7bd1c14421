"""Maps with a number for each object, which some data sets have beside their label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from lasagna.core.masks import BoolMask, RLEMask
from lasagna.core.record import Region
from lasagna.datamodules.converters.common.files import label_pixels, read_label_file
from lasagna.errors import RecordError

Numbers = NDArray[np.integer]
"""The number of the object at each pixel, integer ``[H, W]``."""

ReadObjects = Callable[[Path, Path], tuple[Region, ...]]
"""Takes the paths of a label file and of its map of objects and returns the categories with their objects."""


def mask_pixels(source: Path | BytesIO, where: str, value: Any = None) -> BoolMask:  # noqa: ANN401
    """Return the pixels of a mask that is a file of its own, bool ``[H, W]``.

    Args:
        source: The file, or its content.
        where: What it is, for messages.
        value: The value of the mask's pixels; None for all that are not zero.

    Raises:
        RecordError: If the file cannot be decoded, is JPEG, has transparency, or has no single value for each pixel.
    """
    pixels = label_pixels(source, where)
    if value is not None:
        if pixels.ndim != 2 or type(value) is not int:
            raise RecordError(f"{where}: a value must be a whole number in a file of one channel, got {value!r}")
        return np.asarray(pixels == value)
    if pixels.ndim == 2:
        return np.asarray(pixels != 0)
    if pixels.shape[2] == 3:
        return np.asarray((pixels != 0).any(-1))
    raise RecordError(f"{where}: a mask is black and white, but this file has transparency; store it without")


def read_numbers(path: Path) -> Numbers:
    """Return the map of objects in a file.

    Raises:
        RecordError: If the file cannot be decoded, or has more than one channel.
    """
    numbers = read_label_file(path)
    if numbers.ndim != 2:
        raise RecordError(f"{path}: files of instances have one channel, but this one has shape {numbers.shape}")
    return numbers.astype(np.int64)


@dataclass(frozen=True)
class Runs:
    """The runs of equal numbers in a map, column by column, as COCO's run lengths go.

    There are far fewer runs than pixels, so that the masks of all numbers take about the time of one.

    Args:
        shape: Height and width of the map in pixels.
        starts: Where each run begins, as the number of pixels before it, integer ``[R]``.
        numbers: The number of each run, integer ``[R]``.
    """

    shape: tuple[int, int]
    starts: Numbers
    numbers: Numbers

    @classmethod
    def of(cls, numbers: Numbers) -> Runs:
        """Return the runs of a map.

        Args:
            numbers: The map, integer ``[H, W]``.
        """
        flat = np.ravel(numbers, order="F")
        starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        return cls((numbers.shape[0], numbers.shape[1]), starts, flat[starts])

    @property
    def lengths(self) -> Numbers:
        """Number of pixels of each run, integer ``[R]``."""
        return np.diff(self.starts, append=self.shape[0] * self.shape[1])

    def areas(self) -> dict[int, int]:
        """Return the number of pixels of each number that occurs, in ascending order."""
        found, places = np.unique(self.numbers, return_inverse=True)
        pixels = np.bincount(places, self.lengths).astype(np.int64)
        return dict(zip(found.tolist(), pixels.tolist(), strict=True))

    def masks(self, wanted: Iterable[int]) -> dict[int, RLEMask]:
        """Return the masks of those of some numbers that occur.

        Args:
            wanted: The numbers.
        """
        order = np.argsort(self.numbers, kind="stable")
        ordered, begin, end = self.numbers[order], self.starts[order], (self.starts + self.lengths)[order]
        masks = {}
        for number in wanted:
            first, last = np.searchsorted(ordered, [number, number + 1])
            if first < last:
                masks[number] = self._mask(begin[first:last], end[first:last])
        return masks

    def _mask(self, begin: Numbers, end: Numbers) -> RLEMask:
        borders = np.stack([begin, end], axis=1).ravel()
        counts = np.diff(borders, prepend=0).tolist()
        rest = self.shape[0] * self.shape[1] - int(end[-1])
        code = {"size": list(self.shape), "counts": [*counts, rest] if rest else counts}
        return RLEMask(*self.shape, coco.frPyObjects(code, *self.shape)["counts"].decode("ascii"))

    def mapped(self, values: Mapping[int, int]) -> NDArray[np.uint8]:
        """Return the map with other values, uint8 ``[H, W]``.

        Args:
            values: The value of each number that occurs.
        """
        found, places = np.unique(self.numbers, return_inverse=True)
        table = np.array([values[number] for number in found.tolist()], dtype=np.uint8)
        return np.repeat(table[places], self.lengths).reshape(self.shape, order="F")


def object_regions(
    numbers: Numbers | Runs, objects: Mapping[int, str], crowds: Mapping[int, str]
) -> tuple[Region, ...]:
    """Return the categories with their objects, in the order of the names.

    Args:
        numbers: The map of objects, integer ``[H, W]``, or its runs.
        objects: Category of each number that stands for an object; those without a pixel are left out.
        crowds: Category of each number that stands for objects that are not told apart.
    """
    runs = numbers if isinstance(numbers, Runs) else Runs.of(numbers)
    masks = runs.masks((*objects, *crowds))
    names = dict.fromkeys((*objects.values(), *crowds.values()))
    parts = {name: (_of(name, objects, masks), _of(name, crowds, masks)) for name in names}
    return tuple(Region.of_objects(name, *part) for name, part in parts.items() if any(part))


def majority_regions(numbers: Numbers, labels: Numbers, names: Mapping[int, str]) -> tuple[Region, ...]:
    """Return the categories with their objects, each with its most frequent class; pixels of other classes are not its.

    Args:
        numbers: The map of objects, 0 where there is none, otherwise up to 2 ** 24.
        labels: The label map of 8 or 16 bits, integer ``[H, W]``.
        names: Category of each label value; pixels of other values belong to no object.
    """
    kept = np.where(np.isin(labels, list(names)), numbers, 0).astype(np.int64)
    runs = Runs.of(kept << _LABEL_BITS | labels)
    best: dict[int, tuple[int, int]] = {}
    for pair, area in runs.areas().items():
        number = pair >> _LABEL_BITS
        if number and area > best.get(number, (0, 0))[0]:
            best[number] = (area, pair)
    return object_regions(runs, {pair: names[pair & (1 << _LABEL_BITS) - 1] for _, pair in best.values()}, {})


def _of(name: str, named: Mapping[int, str], masks: Mapping[int, RLEMask]) -> list[RLEMask]:
    return [masks[number] for number, other in named.items() if other == name and number in masks]


_LABEL_BITS = 16
