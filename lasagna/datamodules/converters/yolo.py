"""The user's own data in YOLO's form for segmentation: a text file of polygons for each image.

Source: the data set pages of docs.ultralytics.com ("Instance Segmentation Datasets").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from lasagna.core.masks import Mask, RLEMask, reaches_beyond
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import FEW_POINTS, POINTS
from lasagna.datamodules.converters.common.coco_regions import record_keys
from lasagna.datamodules.converters.common.files import (
    Exif,
    LayoutError,
    read_annotated_image_file,
    shorten,
)
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels
from lasagna.datamodules.converters.yolo_files import (
    BOX,
    YoloLayout,
    has_box,
    image_files,
    label_file,
    object_lines,
    parse_object,
    read_layout,
)
from lasagna.datamodules.shards.tally import BEYOND, ReadResult, Skipped

TWICE = "line that is there twice"
BOXES = "box without a mask"


class Yolo(Converter):
    """A data set in YOLO's form for segmentation, as Ultralytics, Roboflow, CVAT and Label Studio write it.

    Each line of a label file is an object: the number of its class, and the corners of a polygon as fractions of the
    image. An empty label file says that nothing is on the image, and so does a missing one; the summary counts these.
    Underscores in names become blanks, and the original names are aliases.

    Args:
        source: The folder that holds ``data.yaml`` and what it names, or ``classes.txt``, ``images`` and ``labels``.
        data: The file in the place of ``data.yaml``, if it has another name or place.
        unannotated: What it means that a class is not annotated on an image: it is "absent", or it is "unknown" whether
            it is there.
        boxes: What becomes of objects with a box and no polygon: "refuse" them, or take their class as "unclear" on
            that image, so that it is not asked for.
        exif: How images were annotated whose EXIF tag turns them: as they are "seen" (by people, and by YOLO), or as
            they are "stored"; "ask" stops at the first of them.
    """

    def __init__(
        self,
        source: Path,
        data: Path | None = None,
        unannotated: Literal["absent", "unknown"] = "absent",
        boxes: Literal["refuse", "unclear"] = "refuse",
        exif: Exif = "seen",
    ) -> None:
        self.source = source
        self.data = data
        self.unannotated = unannotated
        self.boxes = boxes
        self.exif: Exif = exif

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that ``data.yaml`` names, or the folders of ``images``.

        Raises:
            LayoutError: If the classes or the images of a split are not found; later, if a split has no label files, or
                has boxes and they are refused.
        """
        layout = read_layout(self.source, self.data)
        names = spoken_labels(layout.names.values())
        manifest = Manifest(
            name=self.source.resolve().name,
            categories=tuple(dict.fromkeys(names.values())),
            unannotated=self.unannotated,
            origin=f"the user's own data, {layout.path.name} in YOLO's form",
            licence="the user's own",
            aliases=other_labels(names),
        )
        read = ReadYolo(manifest, {number: names[name] for number, name in layout.names.items()}, self.exif)
        return LazySplits({split: partial(self._split, split, layout, read) for split in layout.places})

    def _split(self, split: str, layout: YoloLayout, read: ReadYolo) -> Split:
        where = f"{layout.path}: {split}"
        places = layout.places[split]
        images = [path for place in places for path in image_files(self.source, place, where)]
        labels = [label_file(self.source, path) for path in images]
        there = {path: path.is_file() for path in labels}
        if not any(there.values()):
            raise LayoutError(
                f"{where}: none of its {len(images)} images has a label file (e.g. {labels[0]}); unpack both"
            )
        if self.boxes == "refuse" and (boxed := [path for path in labels if there[path] and has_box(path)]):
            raise LayoutError(
                f"{where}: {len(boxed)} label files have boxes without a polygon ({shorten(list(map(str, boxed)))}); "
                "draw polygons (for example with a segmentation tool prompted by the boxes), or do not ask for such a "
                "class on that image by `--boxes unclear`"
            )
        items = [
            YoloItem(key, image, label if there[label] else None)
            for key, image, label in zip(record_keys(images), images, labels, strict=True)
        ]
        lists = [place for place in places if place.is_file()]
        bare = [item.image.name for item in items if item.label is None]
        lost = [] if lists else _without_image(labels)
        notes = [f"{len(bare)} images have no label file, so nothing is on them ({shorten(bare)})"] * bool(bare)
        notes += [f"{len(lost)} label files have no image ({shorten(lost)})"] * bool(lost)
        return Split(read.manifest, items, read, images, notes, [layout.path, *lists])


def _without_image(labels: Sequence[Path]) -> list[str]:
    """Return the label files in the folders of others that belong to no image."""
    folders = sorted({path.parent for path in labels})
    others = {path for folder in folders for path in folder.glob("*.txt")} - {*labels}
    return sorted(path.name for path in others if path.name != "classes.txt")


@dataclass(frozen=True)
class YoloItem:
    """One image.

    Args:
        key: Name of the record.
        image: The image file.
        label: Its label file, or None if it has none.
    """

    key: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class ReadYolo:
    """Reads an image with its label file.

    Args:
        manifest: What holds for all records.
        names: The category of each class by its number.
        exif: How images were annotated that an EXIF tag turns.
    """

    manifest: Manifest
    names: Mapping[int, str]
    exif: Exif = "seen"

    def __call__(self, item: YoloItem) -> ReadResult:
        """Read one image; a class with a box or a polygon without a pixel is recorded as unclear.

        Raises:
            RecordError: If the image or a line is broken, or a line has a class without a name.
        """
        data, size = read_annotated_image_file(item.image, None, self.exif)
        masks: dict[str, list[Mask]] = {}
        left: list[Skipped] = []
        unclear: dict[str, None] = {}
        lines: dict[str, str] = {}
        for number, line in [] if item.label is None else object_lines(item.label):
            place = f"{item.label}:{number}"
            where = Path(place).name
            if lines.setdefault(line, where) != where:
                left.append(Skipped(TWICE, where))
                continue
            name, corners = parse_object(line, self.names, place)
            points = [corner * size[1 - rank % 2] for rank, corner in enumerate(corners)]
            mask = _drawn(points, size, where)
            if isinstance(mask, Skipped):
                left.append(mask)
                unclear[name] = None
            else:
                masks.setdefault(name, []).append(mask)
                left += [Skipped(BEYOND, where)] * reaches_beyond([points], size)
        regions = tuple(Region.of_objects(name, parts) for name, parts in masks.items())
        record = Record(item.key, data, size, self.manifest, regions=regions, unclear=tuple(unclear))
        return ReadResult(record, tuple(left))


def _drawn(points: Sequence[float], size: tuple[int, int], where: str) -> Mask | Skipped:
    if len(points) == BOX:
        return Skipped(BOXES, where)
    if len(points) < 2 * POINTS:
        return Skipped(FEW_POINTS, where)
    mask = RLEMask.from_json([list(points)], size)
    return mask if mask.any() else Skipped("mask without a pixel", where)
