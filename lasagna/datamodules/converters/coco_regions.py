"""Images with a mask for each category, from annotation files in COCO's form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pycocotools import mask as coco

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.base import Split
from lasagna.datamodules.converters.coco_json import CocoFile, lost_parts, read_mask, stated_size
from lasagna.datamodules.converters.entries import ID, check_texts
from lasagna.datamodules.converters.files import LayoutError, shorten
from lasagna.datamodules.converters.upright import read_annotated_image_file
from lasagna.datamodules.reading import LeftOut, Reading

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

    def __call__(self, item: RegionItem) -> Reading:
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
            if isinstance(mask, LeftOut):
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
        return Reading(record, tuple(left))


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
