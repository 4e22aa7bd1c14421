"""COCO's panoptic annotations: 80 things and 53 kinds of stuff, a class for nearly every pixel.

Source: Kirillov et al. (CVPR 2019); ``cocodataset/panopticapi`` for the encoding of the PNG files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, ItemFiles, LazySplits, Split
from lasagna.datamodules.converters.common.coco import CocoFile, read_coco
from lasagna.datamodules.converters.common.files import (
    LayoutError,
    first_folder,
    png_of,
    read_image_file,
    read_label_file,
    shorten,
)
from lasagna.datamodules.converters.common.label_maps import without_labels
from lasagna.datamodules.converters.common.names import spoken_names
from lasagna.datamodules.converters.common.object_maps import Runs, object_regions
from lasagna.datamodules.converters.common.stored_items import StoredItems
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError

UNLABELLED = 0
"""Segment id and label value of pixels without a class; the ids of classes are 1 to 200."""

EXPECTED = """
  annotations/panoptic_{train,val}2017.json
  annotations/panoptic_{train,val}2017/<image id>.png
  {train,val}2017/<image id>.jpg"""


class CocoPanoptic(Converter):
    """COCO panoptic; label values are COCO's category ids, and unlabelled pixels are ignored.

    Names are as people say them ("floor-other-merged" is "floor", "wall-brick" is "brick wall"); the release's names
    are aliases. Segments of things are objects or crowds. Images without annotations are left out and noted.

    Args:
        source: The folder that holds ``annotations``.
        images: The folder that holds ``train2017`` and ``val2017``, if that is another folder.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or a folder is missing.
        """
        files = sorted((self.source / "annotations").glob("panoptic_*.json"))
        if not files:
            raise LayoutError(f"source: {self.source} holds no annotations/panoptic_*.json; expected{EXPECTED}")
        parts = {path.stem.removeprefix("panoptic_"): path for path in files}
        return LazySplits({part.removesuffix("2017"): partial(self._split, part, path) for part, path in parts.items()})

    def _split(self, part: str, path: Path) -> Split:
        root = self.images or self.source
        images = first_folder([root / part, root / "images" / part], EXPECTED)
        labels = first_folder([path.with_suffix(""), self.source / path.stem], EXPECTED)
        content = read_coco(path, annotation={"file_name": str, "segments_info": list})
        manifest = _manifest(content)
        items = StoredItems(_item(content, number, images, labels) for number in content.annotations)
        bare = [image["file_name"] for number, image in content.images.items() if number not in content.annotations]
        things = frozenset(number for number, category in content.categories.items() if category.get("isthing"))
        notes = without_labels(bare)
        return Split(manifest, items, ReadPanoptic(manifest, things), ItemFiles(items), notes, annotations=(path,))


@dataclass(frozen=True)
class PanopticItem:
    """One image.

    Args:
        key: The stem of its file, which is its number.
        image: The image file.
        label: The PNG file with the ids of the segments.
        segments: Segment id to category id.
        crowds: Ids of the segments that are crowds of objects.
    """

    key: str
    image: Path
    label: Path
    segments: Mapping[int, int]
    crowds: frozenset[int] = frozenset()


@dataclass(frozen=True)
class ReadPanoptic:
    """Reads an image with its segments.

    Args:
        manifest: What holds for all records.
        things: Ids of the categories whose segments are objects.
    """

    manifest: Manifest
    things: frozenset[int]

    def __call__(self, item: PanopticItem) -> ReadResult:
        """Map segments to their categories; a category is unclear if none of its segments has a pixel.

        Raises:
            RecordError: If a file is broken, the two differ in size, or a pixel belongs to an unlisted segment.
        """
        data, size = read_image_file(item.image)
        ids = segment_ids(read_label_file(item.label, "RGB"))
        if ids.shape != size:
            raise RecordError(f"{item.label}: the label file has size {ids.shape}, the image {size}; both must agree")
        runs = Runs.of(ids)
        drawn = _checked(runs, item)
        labels = runs.mapped({UNLABELLED: UNLABELLED, **item.segments})
        empty = [number for number in item.segments if number not in drawn]
        left = tuple(Skipped("segment without a pixel", f"segment {number} of image {item.key}") for number in empty)
        shown = {item.segments[number] for number in item.segments if number in drawn}
        hidden = dict.fromkeys(item.segments[number] for number in empty)
        unclear = tuple(self.manifest.labels[value] for value in hidden if value not in shown)
        regions = self._objects(runs, item)
        record = Record(item.key, data, size, self.manifest, regions, label_bytes=png_of(labels), unclear=unclear)
        return ReadResult(record, left)

    def _objects(self, runs: Runs, item: PanopticItem) -> tuple[Region, ...]:
        things = {one: self.manifest.labels[of] for one, of in item.segments.items() if of in self.things}
        crowds = {one: things.pop(one) for one in item.crowds if one in things}
        return object_regions(runs, things, crowds)


def segment_ids(pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the ids of segments ``[H, W]`` for colours ``[H, W, 3]``: R + 256 G + 65536 B."""
    ids: NDArray[np.int32] = pixels[..., 2].astype(np.int32)
    for channel in (1, 0):
        ids <<= 8
        ids |= pixels[..., channel]
    return ids


def _checked(runs: Runs, item: PanopticItem) -> frozenset[int]:
    """Return the ids of the segments that have a pixel, all of which must be listed."""
    drawn = frozenset(runs.areas())
    if unknown := [str(number) for number in sorted(drawn - {UNLABELLED, *item.segments})]:
        raise RecordError(f"{item.label}: segments {shorten(unknown)} are not listed in the annotation file")
    return drawn


def _item(content: CocoFile, number: int, images: Path, labels: Path) -> PanopticItem:
    annotations: Sequence[Mapping[str, Any]] = content.annotations[number]
    image = content.images[number]
    parts = [part for one in annotations for part in one["segments_info"]]
    segments = {part["id"]: part["category_id"] for part in parts}
    crowds = frozenset(part["id"] for part in parts if part.get("iscrowd"))
    name = Path(image["file_name"])
    return PanopticItem(name.stem, images / name, labels / annotations[0]["file_name"], segments, crowds)


def _manifest(content: CocoFile) -> Manifest:
    names, aliases = spoken_names({number: category["name"] for number, category in content.categories.items()})
    if outside := [str(number) for number in names if not UNLABELLED < number < 256]:
        raise LayoutError(f"{content.path}: category ids {shorten(outside)} are not between 1 and 255")
    return Manifest(
        name="coco-panoptic",
        categories=tuple(names.values()),
        labels=names,
        void=(UNLABELLED,),
        origin="COCO 2017, panoptic annotations (cocodataset.org)",
        licence="annotations CC BY 4.0 (COCO Consortium); images under the terms of Flickr",
        aliases=aliases,
    )
