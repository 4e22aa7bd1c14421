"""Open Images V6 with masks: 350 kinds of objects, of which few are known on each image.

Source: Kuznetsova et al. (IJCV 2020), Benenson et al. (CVPR 2019); the csv files of the release.
"""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.entries import check_inner
from lasagna.datamodules.converters.common.files import (
    LayoutError,
    read_image_file,
    read_label_file,
    shorten,
    text_lines,
)
from lasagna.datamodules.shards.tally import ReadResult, Skipped

ABSENT = ("0", "0.0")
"""Confidence of a label that annotators rejected."""

Parts = Mapping[str, Sequence[tuple[str, str]]]
"""Image id to the class id and the mask file of each object on it."""


def read_table(path: Path, *columns: str) -> Iterator[tuple[str, ...]]:
    """Read some columns of a csv file with a header, one row at a time.

    Raises:
        LayoutError: If a column is missing, a row ends before it, or the file is not text.
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
    except (UnicodeDecodeError, csv.Error) as error:
        raise LayoutError(f"{path}: the table cannot be read ({error}); download it again") from error


def things_by_image(path: Path) -> Parts:
    """Read the table of masks.

    Raises:
        LayoutError: If it is not such a table, or a name leads out of its folder.
    """
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for image, label, mask in read_table(path, "ImageID", "LabelName", "MaskPath"):
        # few classes occur millions of times
        found[check_inner(image, str(path))].append((intern(label), check_inner(mask, str(path))))
    return found


def verified_absent(
    tables: Sequence[Path], names: Mapping[str, str], images: Container[str]
) -> Mapping[str, tuple[str, ...]]:
    """Read the tables of image labels: for each image the names that some annotators rejected and none confirmed.

    Args:
        tables: The tables.
        names: Name of each class of interest, by id.
        images: Ids of the images of interest.

    Raises:
        LayoutError: If one is not such a table.
    """
    denied: dict[str, dict[str, bool]] = defaultdict(dict)
    for path in tables:
        for image, label, confidence in read_table(path, "ImageID", "LabelName", "Confidence"):
            if label in names and image in images:
                denied[image][names[label]] = denied[image].get(names[label], True) and confidence in ABSENT
    return {image: tuple(name for name, no in said.items() if no) for image, said in denied.items()}


def boxes_by_image(path: Path, names: Mapping[str, str], images: Container[str]) -> Mapping[str, Mapping[str, float]]:
    """Read the table of boxes: for each image the number of boxes of each name, infinite if a box is around a group.

    Args:
        path: The table.
        names: Name of each class of interest, by id.
        images: Ids of the images of interest.

    Raises:
        LayoutError: If it is not such a table.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for image, label, group in read_table(path, "ImageID", "LabelName", "IsGroupOf"):
        if label in names and image in images:
            # the number of objects in a box around a group is not known
            found[image][names[label]] = found[image].get(names[label], 0) + (math.inf if group == "1" else 1)
    return found


SPLITS = {"train": "train", "val": "validation", "test": "test"}
MASKS = "{part}-annotations-object-segmentation.csv"
DESCRIPTIONS = ("oidv6-class-descriptions.csv", "class-descriptions.csv", "class-descriptions-boxable.csv")
LABELS = (
    "{part}-annotations-human-imagelabels.csv",
    "oidv6-{part}-annotations-human-imagelabels.csv",
    "{part}-annotations-human-imagelabels-boxable.csv",
)
BOXES = ("{part}-annotations-bbox.csv", "oidv6-{part}-annotations-bbox.csv")
EXPECTED = """
  {train,validation,test}-annotations-object-segmentation.csv, in the folder or in `annotations`
  oidv6-class-descriptions.csv or class-descriptions-boxable.csv
  [oidv6-]{train,validation,test}-annotations-human-imagelabels[-boxable].csv (optional; names verified to be absent)
  [oidv6-]{train,validation,test}-annotations-bbox.csv (optional; names of which not all objects have a mask)
  {train,validation,test}/, train_{0..f}/ or images/{train,validation,test}/ with <image id>.jpg at any depth
  masks/ or {train,validation,test}-masks*/ with the mask files at any depth"""


class OpenImages(Converter):
    """Open Images V6, images with masks; what is not annotated is unknown.

    Only names that annotators verified to be absent (``Confidence`` 0 in the image labels) count as absent, unless
    another annotator confirmed, boxed or outlined one. Names with more boxes than masks on an image, or with a box
    around a group, are unclear. Masks of another size than their image are resized with nearest neighbours. The classes
    are those of ``classes-segmentation.txt`` if that exists, else all that have a mask; names are in lower case.

    Args:
        source: The folder with the csv files, images and masks.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that have a csv of masks.

        Raises:
            LayoutError: If a csv file is missing or has another form, or a class has no description.
        """
        tables = {name: self._find(MASKS.format(part=part)) for name, part in SPLITS.items()}
        rows = {name: things_by_image(path) for name, path in tables.items() if path}
        if not rows:
            raise LayoutError(f"source: {self.source} holds no csv of masks of Open Images; expected{EXPECTED}")
        names = self._names({label for part in rows.values() for things in part.values() for label, _ in things})
        manifest = _manifest(names)
        return {name: self._split(SPLITS[name], part, names, manifest) for name, part in rows.items()}

    def _split(self, part: str, rows: Parts, names: Mapping[str, str], manifest: Manifest) -> Split:
        letters = sorted(self.source.glob(f"{part}_[0-9a-f]"))
        images = _files(self.source / part, self.source / "images" / part, *letters)
        masks = _files(*sorted(self.source.glob("masks*")), *sorted(self.source.glob(f"{part}-masks*")))
        tables = [path for name in LABELS if (path := self._find(name.format(part=part)))]
        absent, usual = verified_absent(tables, names, rows), self.source / "masks" / part
        boxes = next((path for name in BOXES if (path := self._find(name.format(part=part)))), None)
        boxed = boxes_by_image(boxes, names, rows) if boxes else {}
        items = []
        for image, things in rows.items():
            drawn, boxes_of = Counter(names[label] for label, _ in things), boxed.get(image, {})
            items.append(
                MaskFilesItem(
                    image,
                    images.get(image, self.source / part / f"{image}.jpg"),
                    tuple((names[label], masks.get(file, usual / file)) for label, file in things),
                    absent=tuple(name for name in absent.get(image, ()) if name not in boxes_of),
                    incomplete=tuple(name for name, count in boxes_of.items() if count > drawn[name]),
                )
            )
        files = [path for item in items for path in (item.image, *(mask for _, mask in item.masks))]
        notes = [] if tables else [_no_table("verified negatives", "no name counts as absent", LABELS, part)]
        notes += [] if boxes else [_no_table("boxes", "incomplete masks cannot be recognised", BOXES, part)]
        read = [path for path in (self._find(MASKS.format(part=part)), *tables, boxes) if path]
        return Split(manifest, items, ReadMaskFiles(manifest), files, notes, read)

    def _names(self, used: set[str]) -> dict[str, str]:
        listed = self._find("classes-segmentation.txt")
        wanted = set(map(str.strip, text_lines(listed))) - {""} | used if listed else used
        found = next((path for name in DESCRIPTIONS if (path := self._find(name))), None)
        if found is None:
            raise LayoutError(f"source: there is no {' or '.join(DESCRIPTIONS)} in {self.source}; expected{EXPECTED}")
        described = {row[0]: row[1].strip().lower() for row in csv.reader(text_lines(found)) if len(row) > 1}
        if lost := sorted(wanted - set(described)):
            raise LayoutError(f"{found}: {len(lost)} classes have no description ({shorten(lost)})")
        return {number: described[number] for number in sorted(wanted)}

    def _find(self, name: str) -> Path | None:
        return next((path for folder in ("", "annotations") if (path := self.source / folder / name).is_file()), None)


@dataclass(frozen=True)
class MaskFilesItem:
    """One image with mask files.

    Args:
        key: Name of the record.
        image: The image file.
        masks: Name of the category and mask file of each object.
        absent: Names that were verified to be absent.
        incomplete: Names of which not all objects have a mask.
    """

    key: str
    image: Path
    masks: tuple[tuple[str, Path], ...]
    absent: tuple[str, ...]
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadMaskFiles:
    """Reads an image with its mask files.

    Args:
        manifest: What holds for all records.
    """

    manifest: Manifest

    def __call__(self, item: MaskFilesItem) -> ReadResult:
        """Read the image and the masks of each category, of which each is an object.

        Raises:
            RecordError: If the image or a mask file is missing or broken.
        """
        data, size = read_image_file(item.image)
        masks: dict[str, list[Mask]] = {}
        left, unclear = [], dict.fromkeys(item.incomplete)
        for name, path in item.masks:
            pixels = fit_nearest(read_label_file(path, "L") > 0, size)
            if pixels.any():
                masks.setdefault(name, []).append(RLEMask.from_array(pixels))
            else:
                left.append(Skipped("mask without a pixel", path.name))
                unclear[name] = None
        regions = tuple(Region.of_objects(name, parts) for name, parts in masks.items())
        there = {name for name, _ in item.masks}
        absent = tuple(name for name in item.absent if name not in there)
        record = Record(item.key, data, size, self.manifest, regions=regions, absent=absent, unclear=tuple(unclear))
        return ReadResult(record, tuple(left))


def fit_nearest(pixels: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a mask ``[H, W]`` resized to a height and width with nearest neighbours."""
    if pixels.shape == size:
        return pixels
    resized = Image.fromarray(pixels.astype(np.uint8)).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(resized, dtype=bool)


def _no_table(what: str, consequence: str, names: Sequence[str], part: str) -> str:
    files = " or ".join(name.format(part=part) for name in names)
    return f"no {what} found, so {consequence}: there is no {files}"


def _files(*folders: Path) -> dict[str, Path]:
    """Return the files below some folders by name and by stem."""
    found = {}
    for path in (path for folder in folders for path in sorted(folder.rglob("*.*"))):
        found[path.name] = path
        found.setdefault(path.stem, path)
    return found


def _manifest(names: Mapping[str, str]) -> Manifest:
    return Manifest(
        name="open-images-v6",
        categories=tuple(dict.fromkeys(names.values())),
        unannotated="unknown",
        origin="Open Images V6, object segmentations (storage.googleapis.com/openimages)",
        licence="annotations CC BY 4.0; images listed as CC BY 2.0",
    )
