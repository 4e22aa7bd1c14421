"""Annotation files in COCO's form, which many data sets share: images, categories, and annotations that name both.

Source: the format page of cocodataset.org, and ``cocodataset/cocoapi`` (``pycocotools``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from lasagna.core.masks import Mask, RLEMask, reaches_beyond, too_long
from lasagna.datamodules.converters.entries import ID, Kinds, check_entries
from lasagna.datamodules.converters.files import LayoutError, shorten
from lasagna.datamodules.converters.inner_names import check_inner_names
from lasagna.datamodules.reading import BEYOND, LeftOut
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
    except FileNotFoundError as fault:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from fault
    except (OSError, ValueError) as fault:
        raise LayoutError(f"{path}: the annotation file cannot be read ({fault}); unpack it again") from fault


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


def read_mask(segmentation: Any, size: tuple[int, int], where: str) -> Mask | LeftOut:  # noqa: ANN401
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
        return LeftOut("empty segmentation", where)
    if isinstance(segmentation, list) and any(map(too_long, segmentation)):
        return LeftOut(FAR, where)
    try:
        mask = _united(segmentation, size) if _is_rle_list(segmentation) else _single(segmentation, size)
    except RecordError as fault:
        raise RecordError(f"{where}: {fault}") from fault
    if mask is None:
        return LeftOut(FEW_POINTS, where)
    return LeftOut("mask without a pixel", where) if not coco.area(mask.to_json()) else mask


def lost_parts(segmentation: Any, size: tuple[int, int], where: str) -> tuple[LeftOut, ...]:  # noqa: ANN401
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
    return tuple(LeftOut(reason, where) for reason in reasons)


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
