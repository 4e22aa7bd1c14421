"""COCO's instances, and exports of annotation tools in COCO's format.

Source: Lin et al. (ECCV 2014); the format page of cocodataset.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import read_coco
from lasagna.datamodules.converters.common.coco_regions import regions_split
from lasagna.datamodules.converters.common.entries import ID
from lasagna.datamodules.converters.common.files import LayoutError, first_folder, shorten
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels

EXPECTED = """
  annotations/instances_{train,val}2017.json with {train,val}2017/<image>.jpg,
  or `--annotations FILE` with `--images FOLDER` for an export of your own"""


class CocoInstances(Converter):
    """Objects with masks; those of crowds (``iscrowd``) are kept apart, and belong to the pixels of their category.

    The key of a record is the stem of its image, or the path if two images share a stem. Annotations need no id.

    Underscores in names become blanks. Categories whose names differ only by case, underscores or blanks are one
    category, in the spelling of the first. The original names are aliases.

    Args:
        source: The folder that holds ``annotations`` and the folders of images; for an export, the root of its paths.
        annotations: One annotation file, which becomes the split "train"; by default all files
            ``annotations/instances_*.json``.
        images: The folder that file names are relative to, if that is another folder.
        unannotated: What it means that a category is not annotated on an image: it is "absent", or it is "unknown"
            whether it is there.
        name: Name of the data set.
    """

    def __init__(
        self,
        source: Path,
        annotations: Path | None = None,
        images: Path | None = None,
        unannotated: Literal["absent", "unknown"] = "absent",
        name: str = "coco-instances",
    ) -> None:
        self.source = source
        self.annotations = annotations
        self.images = images
        self.unannotated = unannotated
        self.name = name

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or a folder is missing.
        """
        if self.annotations is not None:
            return LazySplits({"train": partial(self._split, self.annotations, [self.images or self.source])})
        files = sorted((self.source / "annotations").glob("instances_*.json"))
        if not files:
            raise LayoutError(f"source: {self.source} holds no annotations/instances_*.json; expected{EXPECTED}")
        parts = {path.stem.removeprefix("instances_"): path for path in files}
        roots = [self.images] if self.images else [self.source, self.source / "images"]
        return LazySplits(
            {
                part.removesuffix("2017"): partial(self._split, path, [root / part for root in roots])
                for part, path in parts.items()
            }
        )

    def _split(self, path: Path, places: list[Path]) -> Split:
        folder, content = first_folder(places, EXPECTED), read_coco(path, annotation={"category_id": ID})
        released = {number: str(category["name"]) for number, category in content.categories.items()}
        if nameless := [str(number) for number, name in released.items() if not name.strip()]:
            raise LayoutError(f"{path}: the categories {shorten(nameless)} have no name; give them one")
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
        return regions_split(manifest, content, names, lambda image: folder / image["file_name"])
