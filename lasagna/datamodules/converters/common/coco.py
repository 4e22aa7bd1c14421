"""Annotation files in COCO's form, which many data sets share: images, categories, and annotations that name both.

Source: the format page of cocodataset.org, and ``cocodataset/cocoapi`` (``pycocotools``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pycocotools import mask as coco

from lasagna.core.masks import Mask, RLEMask, reaches_beyond, too_long
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Split
from lasagna.datamodules.converters.common.files import (
    ID,
    Kinds,
    LayoutError,
    check_entries,
    check_inner_names,
    check_texts,
    shorten,
)
from lasagna.datamodules.converters.common.upright import read_annotated_image_file
from lasagna.datamodules.shards.tally import BEYOND, ReadResult, Skipped
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
        content: All of it, for fields that only some data sets have.
    """

    path: Path
    images: Mapping[int, Mapping[str, Any]]
    categories: Mapping[int, Mapping[str, Any]]
    annotations: Mapping[int, Sequence[Mapping[str, Any]]]
    content: Mapping[str, Any]


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file of a data set.

    Raises:
        LayoutError: If it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from error
    except (OSError, ValueError) as error:
        raise LayoutError(f"{path}: the annotation file cannot be read ({error}); unpack it again") from error


def read_coco(path: Path, image: Kinds = IMAGE, annotation: Kinds = ANNOTATION) -> CocoFile:
    """Read an annotation file in COCO's form.

    Args:
        path: Where it is.
        image: Fields that each image must have besides its id.
        annotation: Fields that each annotation must have besides the id of its image.

    Raises:
        LayoutError: If it is missing or not of this form, an id of an image or category occurs twice, an
            annotation names an image or a category that is not there, or a file is named that is elsewhere.
    """
    content = read_json(path)
    needed: dict[str, Kinds] = {
        "images": {"id": ID, **image},
        "categories": {"id": ID, "name": str},
        "annotations": {"image_id": ID, **annotation},
    }
    if not isinstance(content, dict) or (missing := [part for part in needed if part not in content]):
        lacking = "it is no object" if not isinstance(content, dict) else f"missing: {', '.join(map(repr, missing))}"
        raise LayoutError(f"{path}: not an annotation file in COCO's form ({lacking})")
    for part, kinds in needed.items():
        check_entries(content[part], kinds, f"{path}: {part}")
        check_inner_names(content[part], "file_name", f"{path}: {part}")
    images, categories = (_by_id(content[part], part, path) for part in ("images", "categories"))
    annotations: list[Mapping[str, Any]] = content["annotations"]
    for one in annotations if "segments_info" in annotation else ():
        check_entries(one["segments_info"], ANNOTATION, f"{path}: segments of image {one['image_id']}")
    _check_ids(annotations, images, categories, path)
    by_image: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for one in annotations:
        by_image[one["image_id"]].append(one)
    return CocoFile(path, images, categories, by_image, content)


def stated_size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width that an image's entry says, in pixels, or None if it does not."""
    height, width = image.get("height"), image.get("width")
    if isinstance(height, (int, float)) and isinstance(width, (int, float)) and height > 0 and width > 0:
        return int(height), int(width)
    return None


def read_mask(segmentation: Any, size: tuple[int, int], where: str) -> Mask | Skipped:  # noqa: ANN401
    """Read a mask in any of COCO's codings: polygons, compressed or uncompressed RLE, or a list of RLE that is united.

    Args:
        segmentation: The coding.
        size: Height and width of the image.
        where: Whose it is, for messages.

    Returns:
        The mask, or why it is left out: it has no coding, no polygon of three points, one that reaches farther than can
        be drawn, or no pixel.

    Raises:
        RecordError: If it is no coding, or one of another size.
    """
    if not segmentation or (isinstance(segmentation, Mapping) and not segmentation.get("counts")):
        return Skipped("empty segmentation", where)
    if isinstance(segmentation, list) and any(map(too_long, segmentation)):
        return Skipped(FAR, where)
    try:
        mask = _united(segmentation, size) if _is_rle_list(segmentation) else _single(segmentation, size)
    except RecordError as error:
        raise RecordError(f"{where}: {error}") from error
    if mask is None:
        return Skipped(FEW_POINTS, where)
    return Skipped("mask without a pixel", where) if not coco.area(mask.to_json()) else mask


def lost_parts(segmentation: Any, size: tuple[int, int], where: str) -> tuple[Skipped, ...]:  # noqa: ANN401
    """Return what of a mask that could be read is left out: what is outside of the image, and what is no polygon.

    Args:
        segmentation: Its coding.
        size: Height and width of the image.
        where: Whose it is, for messages.
    """
    polygons = [part for part in segmentation if isinstance(part, list)] if isinstance(segmentation, list) else []
    reasons = [BEYOND] * reaches_beyond(segmentation, size)
    reasons += [FEW_POINTS for part in polygons if len(part) < 2 * POINTS]
    reasons += [ODD_NUMBERS for part in polygons if len(part) >= 2 * POINTS and len(part) % 2]
    return tuple(Skipped(reason, where) for reason in reasons)


def _is_rle_list(segmentation: Any) -> bool:  # noqa: ANN401
    return isinstance(segmentation, list) and all(isinstance(part, Mapping) for part in segmentation)


def _single(segmentation: Any, size: tuple[int, int]) -> RLEMask | None:  # noqa: ANN401
    if isinstance(segmentation, list):
        parts = [part for part in segmentation if not isinstance(part, list) or len(part) >= 2 * POINTS]
        # pycocotools passes over an x without its y
        segmentation = [part[:-1] if isinstance(part, list) and len(part) % 2 else part for part in parts]
    return RLEMask.from_json(segmentation, size) if segmentation else None


def _united(parts: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> RLEMask:
    merged = coco.merge([RLEMask.from_json(part, size).to_json() for part in parts])
    return RLEMask(size[0], size[1], merged["counts"].decode("ascii"))


def _by_id(items: Sequence[Mapping[str, Any]], part: str, path: Path) -> dict[int, Mapping[str, Any]]:
    found = {item["id"]: item for item in items}
    if len(found) < len(items):
        raise LayoutError(f"{path}: {len(items) - len(found)} of its {part} have an id that another one has")
    return found


def _check_ids(
    annotations: Sequence[Mapping[str, Any]], images: Mapping[int, Any], categories: Mapping[int, Any], path: Path
) -> None:
    lost = {
        "images": sorted({item["image_id"] for item in annotations} - set(images), key=str),
        "categories": sorted(
            {segment["category_id"] for item in annotations for segment in item.get("segments_info", [item])}
            - set(categories),
            key=str,
        ),
    }
    for part, ids in lost.items():
        if ids:
            raise LayoutError(f"{path}: annotations name {part} that are not there: {shorten(list(map(str, ids)))}")


PARTIAL = "not_exhaustive_category_ids"

Place = Callable[[Mapping[str, Any]], Path]
"""Takes an image's entry of the annotation file and says where the image is."""


@dataclass(frozen=True)
class RegionItem:
    """One image.

    Args:
        key: Name of the record.
        image: The image file.
        parts: Name of the category, coding of the mask and id of each annotation, or its place on the image if it has
            none.
        absent: Names that were verified to be absent.
        incomplete: Names of which not all things have a mask.
        said: Height and width of the image as the annotation file says them, if it does.
    """

    key: str
    image: Path
    parts: tuple[tuple[str, Any, int], ...]
    absent: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    said: tuple[int, int] | None = None


@dataclass(frozen=True)
class ReadRegions:
    """Reads an image with its annotations.

    Args:
        manifest: What holds for the records.
        file: Name of the annotation file, for messages.
    """

    manifest: Manifest
    file: str

    def __call__(self, item: RegionItem) -> ReadResult:
        """Read the image and unite the masks of each category; one that lacks masks is noted as unclear.

        Raises:
            RecordError: If the image is broken or of another size than is said, or a mask is no coding or not of its
                size.
        """
        data, size = read_annotated_image_file(item.image, item.said)
        masks: dict[str, list[RLEMask]] = {}
        left, unclear = [], dict.fromkeys(item.incomplete)
        for name, coding, number in item.parts:
            where = f"{self.file}: annotation {number} of {item.key}"
            mask = read_mask(coding, size, where)
            if isinstance(mask, Skipped):
                left.append(mask)
                unclear[name] = None
            elif isinstance(mask, RLEMask):
                masks.setdefault(name, []).append(mask)
                left += lost_parts(coding, size, where)
        regions = tuple(Region(name, united(parts, size)) for name, parts in masks.items())
        # what is annotated is there, even if no mask of it can be used
        known = {*unclear, *(part for part, _, _ in item.parts)}
        absent = tuple(name for name in item.absent if name not in known)
        record = Record(item.key, data, size, self.manifest, regions=regions, absent=absent, unclear=tuple(unclear))
        return ReadResult(record, tuple(left))


def images_root(folder: Path) -> Path:
    """Return the folder that holds COCO's ``train2017`` and ``val2017``: a folder, or its ``images``."""
    inner = folder / "images"
    return inner if any((inner / part).is_dir() for part in ("train2017", "val2017")) else folder


def united(masks: Sequence[RLEMask], size: tuple[int, int]) -> Mask:
    """Return the union of masks of one size."""
    if len(masks) == 1:
        return masks[0]
    merged = coco.merge([mask.to_json() for mask in masks])
    return RLEMask(size[0], size[1], merged["counts"].decode("ascii"))


def regions_split(
    manifest: Manifest,
    content: CocoFile,
    names: Mapping[int, str],
    place: Place,
    negatives: str = "",
    parts: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Split:
    """Return the split of an annotation file: all its images, also those without annotations.

    Args:
        manifest: What holds for the records.
        content: The annotation file.
        names: Name of each category by id.
        place: Where images are.
        negatives: Field of an image that lists the ids of categories verified to be absent; where it is given,
            ``not_exhaustive_category_ids`` lists those of which only some things are annotated.
        parts: Names of the parts of things; where not all of a kind of things are annotated, its parts are not either.

    Raises:
        LayoutError: If one of these fields is no list of ids, or two images are one file.
    """
    listed = (negatives, PARTIAL) if negatives else ()
    for field in listed:
        check_texts(content.content["images"], field, ID, f"{content.path}: images")
    paths = [place(image) for image in content.images.values()]
    _check_paths(content, paths)
    items = []
    for (number, image), path, key in zip(content.images.items(), paths, record_keys(paths), strict=True):
        absent, incomplete = (_named(image, field, names) if negatives else () for field in (negatives, PARTIAL))
        incomplete += tuple(part for name in incomplete for part in parts.get(name, ()))
        annotated = _annotated(content.annotations.get(number, ()), names)
        size = stated_size(image)
        items.append(RegionItem(key, path, annotated, absent, tuple(dict.fromkeys(incomplete)), size))
    read = ReadRegions(manifest, content.path.name)
    notes = [note for field in listed if (note := _unknown_ids(content, field, names))]
    return Split(manifest, items, read, paths, notes, annotations=(content.path,))


def _check_paths(content: CocoFile, paths: Sequence[Path]) -> None:
    known: dict[Path, int] = {}
    for number, path in zip(content.images, paths, strict=True):
        if (other := known.setdefault(path, number)) != number:
            raise LayoutError(
                f"{content.path}: the images {other} and {number} are both {path.name}; put the annotations of "
                "both under one of the two"
            )


def _annotated(annotations: Sequence[Mapping[str, Any]], names: Mapping[int, str]) -> tuple[tuple[str, Any, int], ...]:
    return tuple(
        (names[one["category_id"]], one.get("segmentation"), one.get("id", rank))
        for rank, one in enumerate(annotations)
    )


def _named(image: Mapping[str, Any], field: str, names: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(names[one] for one in image.get(field, ()) if one in names)


def _unknown_ids(content: CocoFile, field: str, names: Mapping[int, str]) -> str:
    ids = sorted({one for image in content.images.values() for one in image.get(field, ())} - set(names), key=str)
    shown = shorten(list(map(str, ids)))
    return f"{len(ids)} ids of `{field}` are no category's and say nothing ({shown})" if ids else ""


def record_keys(paths: Sequence[Path]) -> list[str]:
    """Return a key for each of some files: its stem, or if two share one, its path from the folder that holds all."""
    stems = [path.stem for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    root = commonpath([path.parent for path in paths])
    places = [path.relative_to(root) for path in paths]
    inner = [path.with_suffix("").as_posix() for path in places]
    return inner if len(set(inner)) == len(inner) else [path.as_posix() for path in places]
