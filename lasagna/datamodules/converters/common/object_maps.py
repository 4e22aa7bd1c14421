"""Maps with a number for each object, which some data sets have beside their label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.core.masks import BoolMask, Mask, RLEMask
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


def object_regions(numbers: Numbers, objects: Mapping[int, str], crowds: Mapping[int, str]) -> tuple[Region, ...]:
    """Return the categories with their objects, in the order of the names.

    Args:
        numbers: The map of objects.
        objects: Category of each number that stands for an object; those without a pixel are left out.
        crowds: Category of each number that stands for objects that are not told apart.
    """
    names = dict.fromkeys((*objects.values(), *crowds.values()))
    masks = {name: (_masks(numbers, objects, name), _masks(numbers, crowds, name)) for name in names}
    return tuple(Region.of_objects(name, *parts) for name, parts in masks.items() if any(parts))


def majority_regions(numbers: Numbers, labels: Numbers, names: Mapping[int, str]) -> tuple[Region, ...]:
    """Return the categories with their objects, each with its most frequent class; pixels of other classes are not its.

    Args:
        numbers: The map of objects, 0 where there is none.
        labels: The label map, integer ``[H, W]``.
        names: Category of each label value; pixels of other values belong to no object.
    """
    numbers, objects = np.where(np.isin(labels, list(names)), numbers, 0), {}
    for number in np.unique(numbers[numbers != 0]).tolist():
        pixels = numbers == number
        value = int(np.bincount(labels[pixels]).argmax())
        objects[number] = names[value]
        numbers[pixels & (labels != value)] = 0
    return object_regions(numbers, objects, {})


def _masks(numbers: Numbers, named: Mapping[int, str], name: str) -> list[Mask]:
    codes = (RLEMask.from_array(numbers == number) for number in _of(named, name))
    return [code for code in codes if code.any()]


def _of(named: Mapping[int, str], name: str) -> Iterable[int]:
    return (number for number, other in named.items() if other == name)
