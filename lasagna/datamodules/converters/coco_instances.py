"""COCO's instances, and exports of annotation tools in COCO's format.

Source: Lin et al. (ECCV 2014); the format page of cocodataset.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import read_coco
from lasagna.datamodules.converters.common.coco_regions import regions_split
from lasagna.datamodules.converters.common.entries import ID
from lasagna.datamodules.converters.common.exported_names import exported_file, grouping_categories
from lasagna.datamodules.converters.common.files import Exif, LayoutError, first_folder, shorten
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels

EXPECTED = """
  annotations/instances_{train,val}2017.json with {train,val}2017/<image>.jpg,
  or one file of JSON, also in annotations/, with the images in the folder, images/ or data/ for an export of your own,
  or {train,valid,val,test}/_annotations.coco.json (or another file of JSON) with the images beside it,
  or `--annotations FILE` with `--images FOLDER`"""

SPLITS = ("train", "valid", "val", "test")

RELEASES = ("2014", "2017")
"""Ends of the names of COCO's own splits."""

WHOLE = "instances_default"
"""Stem of the annotation file of an export without splits, as CVAT writes it."""


class CocoInstances(Converter):
    """Objects with masks; those of crowds (``iscrowd``) are kept apart, and belong to the pixels of their category.

    The key of a record is the stem of its image, or the path if two images share a stem. Annotations need no id.

    Underscores in names become blanks. Categories whose names differ only by case, underscores or blanks are one
    category, in the spelling of the first. The original names are aliases.

    Args:
        source: The folder that holds ``annotations`` and the folders of images; for an export, the root of its paths.
        annotations: One annotation file, which becomes the split of ``split``; by default all files
            ``annotations/instances_*.json``, else one in each of the folders "train", "valid", "val" and "test", else
            the only one in the folder or in ``annotations``.
        images: The folder that file names are relative to, if that is another folder.
        unannotated: What it means that a category is not annotated on an image: it is "absent", or it is "unknown"
            whether it is there.
        name: Name of the data set.
        split: Name of the split of ``annotations``; by default that of its folder or file if it is one of "train",
            "valid", "val" and "test", else "train".
        exif: How images of an export were annotated whose EXIF tag turns them, where the stated size does not tell: as
            they are "stored", or as they are "seen"; "ask" stops at the first of them. COCO's own are "stored" unless
            you say otherwise.
    """

    def __init__(
        self,
        source: Path,
        annotations: Path | None = None,
        images: Path | None = None,
        unannotated: Literal["absent", "unknown"] = "absent",
        name: str = "coco-instances",
        split: str | None = None,
        exif: Exif = "ask",
    ) -> None:
        self.source = source
        self.annotations = annotations
        self.images = images
        self.unannotated = unannotated
        self.name = name
        self.split = split
        self.exif: Exif = exif

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or a folder is missing.
        """
        files = sorted((self.source / "annotations").glob("instances_*.json"))
        exported = {part: path for part in SPLITS if (path := _file_of(self.source / part))}
        if self.annotations is not None or (not exported and [path.stem for path in files] in ([], [WHOLE])):
            path = self.annotations or self._only_file()
            name = self.split or _split_of(path)
            return LazySplits({name: partial(self._split, path, [self.images or self.source], self.exif)})
        if self.split is not None:
            raise LayoutError(
                f"split: {self.split!r} names the split of `--annotations`, which is not given; choose one"
            )
        if not files:
            return LazySplits(
                {
                    part: partial(self._split, path, [(self.images or self.source) / part], self.exif)
                    for part, path in exported.items()
                }
            )
        parts = {path.stem.removeprefix("instances_"): path for path in files}
        roots = [self.images] if self.images else [self.source, self.source / "images"]
        return LazySplits(
            {
                part.removesuffix("2017"): partial(self._split, path, [root / part for root in roots], self._exif(part))
                for part, path in parts.items()
            }
        )

    def _exif(self, part: str) -> Exif:
        return "stored" if self.exif == "ask" and part.endswith(RELEASES) else self.exif

    def _only_file(self) -> Path:
        """Return the annotation file of an export that has one.

        Raises:
            LayoutError: If there is none, or there are several.
        """
        found = sorted(self.source.glob("*.json")) or sorted((self.source / "annotations").glob("*.json"))
        if len(found) > 1:
            names = shorten([path.name for path in found])
            raise LayoutError(
                f"source: {found[0].parent} holds several files of JSON ({names}); choose one by `--annotations`"
            )
        if not found:
            raise LayoutError(f"source: {self.source} holds no annotations/instances_*.json; expected{EXPECTED}")
        return found[0]

    def _split(self, path: Path, places: list[Path], exif: Exif) -> Split:
        folder = first_folder(places, EXPECTED)
        content = read_coco(path, annotation={"category_id": ID}, inner=False)
        groups = grouping_categories(content.categories, content.used)
        released = {number: str(one["name"]) for number, one in content.categories.items() if number not in groups}
        said = spoken_labels(released.values())
        names = {number: said[name] for number, name in released.items()}
        manifest = Manifest(
            name=self.name,
            categories=tuple(dict.fromkeys(names.values())),
            unannotated=self.unannotated,
            origin=f"{self.name}: {path.name} in COCO's form",
            licence="as its source states; COCO: annotations CC BY 4.0, images under the terms of Flickr",
            aliases=other_labels(said),
        )
        split = regions_split(
            manifest,
            content,
            names,
            lambda image: exported_file(folder, image["file_name"], f"{path}: image {image['id']}"),
            exif=exif,
        )
        note = f"{shorten(list(groups.values()))} only groups other categories and is not one itself"
        return replace(split, notes=[*split.notes, note]) if groups else split


def _split_of(path: Path) -> str:
    """Return the split that the folder or the name of an annotation file states, else "train"."""
    words = (path.resolve().parent.name, path.stem.removesuffix("2017").rpartition("_")[2])
    return next((word for word in words if word in SPLITS), SPLITS[0])


def _file_of(folder: Path) -> Path | None:
    """Return the annotation file of a folder of an export, or None."""
    found = sorted(folder.glob("*.json"))
    return next((path for path in found if path.name == "_annotations.coco.json"), found[0] if found else None)
