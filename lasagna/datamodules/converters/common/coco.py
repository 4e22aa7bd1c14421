"""Annotation files in COCO's format, which many data sets share: images, categories and annotations with their masks.

Source: the format page of cocodataset.org, and ``cocodataset/cocoapi`` (``pycocotools``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from lasagna.core.coordinates import are_fractions
from lasagna.core.masks import Mask, RLEMask, reaches_beyond, too_long
from lasagna.datamodules.converters.common.entries import ID, Kinds, check_entries, check_inner_names, read_json
from lasagna.datamodules.converters.common.files import LayoutError, shorten
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
        content: All of it, for fields that only some data sets have.
    """

    path: Path
    images: Mapping[Any, Mapping[str, Any]]
    categories: Mapping[int, Mapping[str, Any]]
    annotations: Mapping[Any, Sequence[Mapping[str, Any]]]
    content: Mapping[str, Any]


def read_coco(path: Path, image: Kinds = IMAGE, annotation: Kinds = ANNOTATION, inner: bool = True) -> CocoFile:
    """Read an annotation file in COCO's format.

    Args:
        path: Where it is.
        image: Fields that each image must have besides its id.
        annotation: Fields that each annotation must have besides the id of its image.
        inner: Whether to refuse file names that lead out of their folder; else the caller does.

    Raises:
        LayoutError: If it is missing or has another format, two images or categories share an id, an annotation names
            an image or a category that does not exist, or a file name leads out of its folder.
    """
    content = read_json(path)
    needed: dict[str, Kinds] = {
        "images": {"id": ID, **image},
        "categories": {"id": ID, "name": str},
        "annotations": {"image_id": ID, **annotation},
    }
    if not isinstance(content, dict) or (missing := [part for part in needed if part not in content]):
        reason = "it is not an object" if not isinstance(content, dict) else f"missing: {', '.join(map(repr, missing))}"
        raise LayoutError(f"{path}: not an annotation file in COCO's format ({reason})")
    for part, kinds in needed.items():
        check_entries(content[part], kinds, f"{path}: {part}")
        if inner:
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


def _by_id(items: Sequence[Mapping[str, Any]], part: str, path: Path) -> dict[int, Mapping[str, Any]]:
    found = {item["id"]: item for item in items}
    if len(found) < len(items):
        raise LayoutError(f"{path}: {len(items) - len(found)} of its {part} share their id with another one")
    return found


def _check_ids(
    annotations: Sequence[Mapping[str, Any]], images: Mapping[int, Any], categories: Mapping[int, Any], path: Path
) -> None:
    # panoptic annotations name a category for each segment
    segments = [segment for item in annotations for segment in item.get("segments_info", [item])]
    named = {
        "images": {item["image_id"] for item in annotations} - set(images),
        "categories": {segment["category_id"] for segment in segments} - set(categories),
    }
    for part, unknown in named.items():
        if unknown:
            shown = shorten(list(map(str, sorted(unknown, key=str))))
            raise LayoutError(f"{path}: annotations name {part} that do not exist: {shown}")


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
