"""Annotation files in COCO's format, which many data sets share: images, categories and annotations with their masks.

Source: the format page of cocodataset.org, and ``cocodataset/cocoapi`` (``pycocotools``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from lasagna.core.coordinates import are_fractions
from lasagna.core.json_text import check_characters
from lasagna.core.masks import Mask, RLEMask, reaches_beyond, too_long
from lasagna.datamodules.converters.common.coco_store import Entry, Id, StoredAnnotations, StoredImages
from lasagna.datamodules.converters.common.entries import ID, Kinds, check_entries, check_entry, check_inner
from lasagna.datamodules.converters.common.files import MOST_LISTED, LayoutError, shorten
from lasagna.datamodules.converters.common.json_stream import JsonStream
from lasagna.datamodules.shards.tally import BEYOND, Skipped
from lasagna.errors import RecordError

POINTS = 3
"""Fewest points of a polygon that has an inside."""

FEW_POINTS = f"polygon of fewer than {POINTS} points"
ODD_NUMBERS = "last number of a polygon with an x and no y"
FAR = "polygon that reaches too far beyond the image to be drawn"

IMAGE: Kinds = {"file_name": str}
ANNOTATION: Kinds = {"id": ID, "category_id": ID}


@dataclass(frozen=True)
class CocoFile:
    """An annotation file.

    Args:
        path: Where it is.
        images: Its images by id, in the file's order.
        categories: Its categories by id, in the file's order.
        annotations: Its annotations by the id of their image, in the file's order.
        used: Ids of the categories that annotations name.
    """

    path: Path
    images: StoredImages
    categories: Mapping[Id, Entry]
    annotations: StoredAnnotations
    used: frozenset[Id]


def read_coco(path: Path, image: Kinds = IMAGE, annotation: Kinds = ANNOTATION, inner: bool = True) -> CocoFile:
    """Read an annotation file in COCO's format, of which one entry at a time is in memory.

    Args:
        path: Where it is.
        image: Fields that each image must have besides its id.
        annotation: Fields that each annotation must have besides the id of its image.
        inner: Whether to refuse file names that lead out of their folder; else the caller does.

    Raises:
        LayoutError: If it is missing or has another format, two images or categories share an id, an annotation names
            an image or a category that does not exist, or a file name leads out of its folder.
    """
    reader = _Reader(path, {"images": image, "annotations": annotation}, inner)
    try:
        with path.open(encoding="utf-8-sig") as file:
            reader.read(JsonStream(file))
    except LayoutError:
        raise
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from error
    except (OSError, ValueError) as error:
        raise LayoutError(f"{path}: the annotation file cannot be read ({error}); unpack it again") from error
    return reader.checked()


class _Reader:
    """Takes the entries of an annotation file one by one, and checks them."""

    def __init__(self, path: Path, kinds: Mapping[str, Kinds], inner: bool) -> None:
        self.path = path
        self.inner = inner
        self.has_segments = "segments_info" in kinds["annotations"]
        self.kinds: dict[str, Kinds] = {
            "images": {"id": ID, **kinds["images"]},
            "categories": {"id": ID, "name": str},
            "annotations": {"image_id": ID, **kinds["annotations"]},
        }
        self.images, self.annotations = StoredImages(), StoredAnnotations()
        self.categories: dict[Id, Entry] = {}
        self.used: set[Id] = set()
        self.doubled = Counter[str]()
        self.parts: set[str] = set()

    def read(self, stream: JsonStream) -> None:
        if stream.next() not in ("{", ""):
            stream.value()
            raise LayoutError(f"{self.path}: not an annotation file in COCO's format (it is not an object)")
        for part in stream.members():
            if part not in self.kinds:
                stream.value()
                continue
            if part in self.parts:
                raise ValueError(f"it has {part!r} twice")
            self.parts.add(part)
            where = f"{self.path}: {part}"
            if stream.next() != "[":
                check_entries(stream.value(), {}, where)
            for rank, (entry, text) in enumerate(stream.elements()):
                check_entry(entry, self.kinds[part], f"{where}[{rank}]")
                if self.inner and isinstance(name := entry.get("file_name"), str):
                    check_inner(name, f"{where}[{rank}]")
                check_characters(entry, text)
                getattr(self, f"_{part}")(entry, text)

    def _images(self, entry: Entry, text: str) -> None:
        self.doubled["images"] += not self.images.add(entry["id"], text)

    def _categories(self, entry: Entry, text: str) -> None:
        self.doubled["categories"] += entry["id"] in self.categories
        self.categories[entry["id"]] = entry

    def _annotations(self, entry: Entry, text: str) -> None:
        if self.has_segments:
            check_entries(entry["segments_info"], ANNOTATION, f"{self.path}: segments of image {entry['image_id']}")
        # panoptic annotations name a category for each segment
        self.used.update(segment["category_id"] for segment in entry.get("segments_info", [entry]))
        self.annotations.add(entry["image_id"], text)

    def checked(self) -> CocoFile:
        """Return the file, after what only all of its entries tell was checked."""
        if missing := [part for part in self.kinds if part not in self.parts]:
            reason = f"missing: {', '.join(map(repr, missing))}"
            raise LayoutError(f"{self.path}: not an annotation file in COCO's format ({reason})")
        for part, count in self.doubled.items():
            if count:
                raise LayoutError(f"{self.path}: {count} of its {part} share their id with another one")
        if nameless := [str(number) for number, one in self.categories.items() if not one["name"].strip()]:
            raise LayoutError(f"{self.path}: the categories {shorten(nameless)} have no name; give them one")
        self.annotations.index()
        lost = (number for number in self.annotations if number not in self.images)
        unknown = {"images": list(islice(lost, MOST_LISTED + 1)), "categories": [*self.used - set(self.categories)]}
        for part, numbers in unknown.items():
            if numbers:
                shown = shorten(list(map(str, sorted(numbers, key=str))))
                raise LayoutError(f"{self.path}: annotations name {part} that do not exist: {shown}")
        return CocoFile(self.path, self.images, self.categories, self.annotations, frozenset(self.used))


def stated_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width in pixels that an image's entry states, or None if it states no size."""
    height, width = image.get("height"), image.get("width")
    if isinstance(height, (int, float)) and isinstance(width, (int, float)) and height > 0 and width > 0:
        return int(height), int(width)
    return None


def read_mask(segmentation: Any, size: tuple[int, int], where: str) -> Mask | Skipped:  # noqa: ANN401
    """Read a mask in any of COCO's encodings: polygons, compressed or uncompressed RLE, or a list of RLE to unite.

    Args:
        segmentation: The encoded mask.
        size: Height and width of the image.
        where: Whose it is, for messages.

    Returns:
        The mask, or why it is left out: its encoding is empty, it has no polygon of three points, one that reaches too
        far to be drawn, or no pixel.

    Raises:
        RecordError: If the encoding is invalid or of another size, or its polygons are pairs or fractions.
    """
    if not segmentation or (isinstance(segmentation, Mapping) and not segmentation.get("counts")):
        return Skipped("empty segmentation", where)
    _check_polygons(segmentation, size, where)
    if isinstance(segmentation, list) and any(map(too_long, segmentation)):
        return Skipped(FAR, where)
    try:
        mask = _decode(segmentation, size)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    if mask is None:
        return Skipped(FEW_POINTS, where)
    return Skipped("mask without a pixel", where) if not coco.area(mask.to_json()) else mask


def check_no_fractions(numbers: Sequence[Any], size: tuple[int, int], where: str) -> None:
    """Refuse coordinates in fractions of the image, which would be a mask of a single pixel.

    Args:
        numbers: The coordinates of the corners.
        size: Height and width of the image.
        where: Whose they are, for the message.

    Raises:
        RecordError: If all of them are from 0 to about 1, and not only 0 and 1.
    """
    if are_fractions(numbers, size):
        raise RecordError(
            f"{where}: its points are fractions of the image ({str(list(numbers))[:40]} ...); multiply x by the width "
            f"{size[1]} and y by the height {size[0]}"
        )


def _check_polygons(segmentation: Any, size: tuple[int, int], where: str) -> None:  # noqa: ANN401
    """Refuse polygons whose points are pairs, and those in fractions of the image."""
    if not isinstance(segmentation, list):
        return
    if all(type(part) in (int, float) for part in segmentation):
        raise RecordError(
            f"{where}: mask: it is a single polygon ({str(segmentation)[:40]} ...); put it into a list, since a mask "
            "may have several"
        )
    if not all(isinstance(part, list) for part in segmentation):
        return
    are_pairs = len(segmentation) >= POINTS and all(len(part) == 2 for part in segmentation)
    if are_pairs or any(isinstance(point, list) for part in segmentation for point in part):
        raise RecordError(
            f"{where}: mask: its points are pairs ({str(segmentation)[:40]} ...); write each polygon as one list "
            "[x0, y0, x1, y1, ...] within a list"
        )
    numbers = [number for part in segmentation for number in part]
    if len(numbers) >= 2 * POINTS:
        check_no_fractions(numbers, size, f"{where}: mask")


def _decode(segmentation: Any, size: tuple[int, int]) -> RLEMask | None:  # noqa: ANN401
    """Return the mask, or None if no polygon has enough points."""
    if isinstance(segmentation, list):
        if all(isinstance(part, Mapping) for part in segmentation):
            return _merge([RLEMask.from_json(part, size) for part in segmentation], size)
        parts = [part for part in segmentation if not isinstance(part, list) or len(part) >= 2 * POINTS]
        # pycocotools ignores an x without its y
        segmentation = [part[:-1] if isinstance(part, list) and len(part) % 2 else part for part in parts]
    return RLEMask.from_json(segmentation, size) if segmentation else None


def _merge(masks: Sequence[RLEMask], size: tuple[int, int]) -> RLEMask:
    merged = coco.merge([mask.to_json() for mask in masks])
    return RLEMask(size[0], size[1], merged["counts"].decode("ascii"))


def lost_parts(segmentation: Any, size: tuple[int, int], where: str) -> tuple[Skipped, ...]:  # noqa: ANN401
    """Return what is left out of a mask that could be read: what lies outside of the image, and invalid polygons.

    Args:
        segmentation: The encoded mask.
        size: Height and width of the image.
        where: Whose it is, for messages.
    """
    polygons = [part for part in segmentation if isinstance(part, list)] if isinstance(segmentation, list) else []
    reasons = [BEYOND] * reaches_beyond(segmentation, size)
    reasons += [FEW_POINTS for part in polygons if len(part) < 2 * POINTS]
    reasons += [ODD_NUMBERS for part in polygons if len(part) >= 2 * POINTS and len(part) % 2]
    return tuple(Skipped(reason, where) for reason in reasons)
