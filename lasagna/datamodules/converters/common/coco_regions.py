"""Splits with the masks of the objects of an image, made from annotation files in COCO's format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from os.path import commonpath
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lasagna.core.masks import Mask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import ItemFiles, Split
from lasagna.datamodules.converters.common.coco import CocoFile, lost_parts, read_mask, stated_size
from lasagna.datamodules.converters.common.coco_store import Entry, Id
from lasagna.datamodules.converters.common.entries import ID, check_lists
from lasagna.datamodules.converters.common.files import Exif, LayoutError, read_annotated_image_file, shorten
from lasagna.datamodules.converters.common.stored_items import StoredItems, repeated
from lasagna.datamodules.shards.key_index import KeyIndex
from lasagna.datamodules.shards.tally import ReadResult, Skipped

NEGATIVE, PARTIAL = "neg_category_ids", "not_exhaustive_category_ids"
"""Fields of an image in LVIS's form: the categories verified to be absent, and those of which some have no mask."""

Place = Callable[[Mapping[str, Any]], Path]
"""Takes an image's entry of the annotation file and returns the path of the image."""


@dataclass(frozen=True)
class RegionItem:
    """One image.

    Args:
        key: Name of the record.
        image: The image file.
        parts: Category name, encoded mask and id of each annotation, and whether it is a crowd of objects; without an
            id, its rank on the image.
        absent: Names that were verified to be absent.
        incomplete: Names of which not all objects have a mask.
        stated: Height and width of the image as the annotation file states them, if it does.
    """

    key: str
    image: Path
    parts: tuple[tuple[str, Any, int, bool], ...]
    absent: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    stated: tuple[int, int] | None = None


@dataclass(frozen=True)
class ReadRegions:
    """Reads an image with its annotations.

    Args:
        manifest: What holds for all records.
        file: Name of the annotation file, for messages.
        exif: How images were annotated that an EXIF tag turns.
    """

    manifest: Manifest
    file: str
    exif: Exif = "stored"

    def __call__(self, item: RegionItem) -> ReadResult:
        """Read the image and the objects of each category; a category that lacks masks is recorded as unclear.

        Raises:
            RecordError: If the image is broken or has another size than stated, or a mask is invalid or of another
                size.
        """
        data, size = read_annotated_image_file(item.image, item.stated, self.exif)
        masks: dict[str, tuple[list[Mask], list[Mask]]] = {}  # objects and crowds
        left, unclear = [], dict.fromkeys(item.incomplete)
        for name, coding, number, crowd in item.parts:
            where = f"{self.file}: annotation {number} of {item.key}"
            mask = read_mask(coding, size, where)
            if isinstance(mask, Skipped):
                left.append(mask)
                unclear[name] = None
            else:
                masks.setdefault(name, ([], []))[crowd].append(mask)
                left += lost_parts(coding, size, where)
        regions = tuple(Region.of_objects(name, *parts) for name, parts in masks.items())
        # an annotated category is present, even if none of its masks can be used
        known = {*unclear, *(part[0] for part in item.parts)}
        absent = tuple(name for name in item.absent if name not in known)
        record = Record(item.key, data, size, self.manifest, regions=regions, absent=absent, unclear=tuple(unclear))
        return ReadResult(record, tuple(left))


def images_root(folder: Path) -> Path:
    """Return the folder that holds COCO's ``train2017`` and ``val2017``: the given one, or its ``images``."""
    inner = folder / "images"
    return inner if any((inner / part).is_dir() for part in ("train2017", "val2017")) else folder


def regions_split(
    manifest: Manifest,
    content: CocoFile,
    names: Mapping[int, str],
    place: Place,
    federated: bool = False,
    parts: Mapping[str, Sequence[str]] = MappingProxyType({}),
    exif: Exif = "stored",
) -> Split:
    """Return the split of an annotation file: all its images, including those without annotations.

    Args:
        manifest: What holds for all records.
        content: The annotation file.
        names: Name of each category by id.
        place: Where images are.
        federated: Whether images list which categories are absent and which are incomplete (``neg_category_ids`` and
            ``not_exhaustive_category_ids``), as in LVIS.
        parts: Names of the parts of each kind of object; if a kind is incomplete on an image, so are its parts.
        exif: How images were annotated that an EXIF tag turns.

    Raises:
        LayoutError: If one of these fields is not a list of ids, two images are the same file, or no annotation has a
            mask.
    """
    has_only_boxes = (not one.get("segmentation") and one.get("bbox") for one in content.annotations.all())
    if content.annotations and all(has_only_boxes):
        count = sum(1 for _ in content.annotations.all())
        raise LayoutError(
            f"{content.path}: its {count} annotations are boxes without a mask; draw masks (for example with a "
            "segmentation tool prompted by the boxes), and export polygons or RLE"
        )
    fields = (NEGATIVE, PARTIAL) if federated else ()
    for field in fields:
        check_lists(content.images.values(), field, ID, f"{content.path}: images")
    paths = StoredItems(place(image) for image in content.images.values())
    _check_paths(content, paths)
    key_of = key_maker(paths)

    def item_of(number: Id, image: Entry, path: Path) -> RegionItem:
        annotated = tuple(
            (names[one["category_id"]], one.get("segmentation"), one.get("id", rank), bool(one.get("iscrowd")))
            for rank, one in enumerate(content.annotations.get(number, ()))
        )
        listed = [tuple(names[one] for one in image.get(field, ()) if one in names) for field in fields]
        absent, incomplete = listed or ((), ())
        incomplete += tuple(part for name in incomplete for part in parts.get(name, ()))
        unfinished = tuple(dict.fromkeys(incomplete))
        return RegionItem(key_of(path), path, annotated, absent, unfinished, stated_size(image))

    items = StoredItems(item_of(*image, path) for image, path in zip(content.images.items(), paths, strict=True))
    notes = []
    for field in fields:
        named = {one for image in content.images.values() for one in image.get(field, ())}
        if unknown := [str(one) for one in sorted(named - set(names), key=str)]:
            notes.append(f"{len(unknown)} ids of `{field}` belong to no category and are ignored ({shorten(unknown)})")
    read = ReadRegions(manifest, content.path.name, exif)
    return Split(manifest, items, read, ItemFiles(items), notes, annotations=(content.path,))


def _check_paths(content: CocoFile, paths: Iterable[Path]) -> None:
    known = KeyIndex()
    for number, path in zip(content.images, paths, strict=True):
        if (other := known.add(str(path), str(number))) is not None:
            raise LayoutError(
                f"{content.path}: the images {other} and {number} are both {path.name}; put the annotations of "
                "both under one of the two"
            )


def record_keys(paths: Sequence[Path]) -> list[str]:
    """Return a key for each file: its stem, or if two share a stem, its path from the folder that holds them all."""
    return list(map(key_maker(paths), paths))


def key_maker(paths: Iterable[Path]) -> Callable[[Path], str]:
    """Return what makes the keys of some files, as ``record_keys`` returns them.

    Args:
        paths: The files, which can be iterated over repeatedly.
    """

    def inner(path: Path) -> Path:
        return path.relative_to(root)

    makers: list[Callable[[Path], str]] = [
        lambda path: path.stem,
        lambda path: inner(path).with_suffix("").as_posix(),
        lambda path: inner(path).as_posix(),
    ]
    root = Path()
    for make in makers[:-1]:
        if not repeated(lambda make=make: map(make, paths)):  # type: ignore[misc]
            return make
        root = Path(reduce(lambda one, other: commonpath([one, other]), (str(path.parent) for path in paths)))
    return makers[-1]
