"""The tables of Open Images, which are read a row at a time, since some have tens of millions."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern

from lasagna.datamodules.converters.files import LayoutError
from lasagna.datamodules.converters.inner_names import check_inner

ABSENT = ("0", "0.0")
"""Confidence of a label that people found to be wrong."""

Parts = Mapping[str, Sequence[tuple[str, str]]]
"""Id of an image to the id of the class and the mask file of each thing on it."""


def read_table(path: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    """Read some columns of a csv file with a header, a row at a time.

    Raises:
        LayoutError: If one of the columns is missing, a row ends before it, or the file is no text.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if missing := [name for name in columns if name not in header]:
                raise LayoutError(f"{path}: the table has no column {', '.join(missing)}; download it again")
            places = [header.index(name) for name in columns]
            for row in filter(None, reader):
                if len(row) <= max(places):
                    raise LayoutError(f"{path}:{reader.line_num}: the row is cut short; download the table again")
                yield tuple(row[place] for place in places)
    except (UnicodeDecodeError, csv.Error) as fault:
        raise LayoutError(f"{path}: the table cannot be read ({fault}); download it again") from fault


def things_by_image(path: Path) -> Parts:
    """Read the table of masks.

    Raises:
        LayoutError: If it is no such table, or names a file that is elsewhere.
    """
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for image, label, mask in read_table(path, "ImageID", "LabelName", "MaskPath"):
        # few classes come millions of times
        found[check_inner(image, str(path))].append((intern(label), check_inner(mask, str(path))))
    return found


def verified_absent(
    tables: Sequence[Path], names: Mapping[str, str], images: Container[str]
) -> Mapping[str, tuple[str, ...]]:
    """Read the tables of image labels: for each image the names that people found not to be there, and nobody there.

    Args:
        tables: The tables.
        names: Name of each class that is asked for.
        images: Ids of the images that are asked for.

    Raises:
        LayoutError: If one is no such table.
    """
    denied: dict[str, dict[str, bool]] = defaultdict(dict)
    for path in tables:
        for image, label, confidence in read_table(path, "ImageID", "LabelName", "Confidence"):
            if label in names and image in images:
                denied[image][names[label]] = denied[image].get(names[label], True) and confidence in ABSENT
    return {image: tuple(name for name, no in said.items() if no) for image, said in denied.items()}


def boxes_by_image(path: Path, names: Mapping[str, str], images: Container[str]) -> Mapping[str, Mapping[str, float]]:
    """Read the table of boxes: for each image how many things of each name have a box.

    Args:
        path: The table.
        names: Name of each class that is asked for.
        images: Ids of the images that are asked for.

    Raises:
        LayoutError: If it is no such table.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for image, label, group in read_table(path, "ImageID", "LabelName", "IsGroupOf"):
        if label in names and image in images:
            # nobody knows how many things a box around a group holds
            found[image][names[label]] = found[image].get(names[label], 0) + (math.inf if group == "1" else 1)
    return found
