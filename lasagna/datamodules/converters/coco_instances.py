"""COCO's instances, and whatever else was exported in COCO's form.

Source: Lin et al. (ECCV 2014); the format page of cocodataset.org.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import CocoFile, read_coco, regions_split
from lasagna.datamodules.converters.common.files import ID, LayoutError, first_folder, shorten
from lasagna.datamodules.converters.folder_manifest import other_labels, spoken_labels

EXPECTED = """
  annotations/instances_{train,val}2017.json with {train,val}2017/<image>.jpg,
  or `--annotations FILE` with `--images FOLDER` for an export of your own"""


class CocoInstances(Converter):
    """Things with masks, one category at a time; masks of one category are united, those of crowds as well.

    A record is called by its image's stem, or where two images share one, by its path. Annotations need no id.

    Underscores in names are blanks; categories whose names differ by case, underscores or blanks alone are one
    category, called as the first of them. Names as they were are aliases.

    Args:
        source: The folder that holds ``annotations`` and the folders of images; for an export, where its paths begin.
        annotations: One annotation file, which becomes the split "train", or else all that are called
            ``annotations/instances_*.json``.
        images: The folder of the images that file names begin in, if it is another one.
        unannotated: What it means that a category is not annotated: that it is absent, or that nobody knows.
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
        """Return the splits whose annotation files are there.

        Raises:
            LayoutError: If there is no annotation file; later, if one is broken or a folder missing.
        """
        if self.annotations is not None:
            return LazySplits({"train": partial(self._split, self.annotations, [self.images or self.source])})
        files = sorted((self.source / "annotations").glob("instances_*.json"))
        if not files:
            raise LayoutError(f"source: {self.source} holds no annotations/instances_*.json; expected{EXPECTED}")
        parts = {path.stem.removeprefix("instances_"): path for path in files}
        return LazySplits(
            {part.removesuffix("2017"): partial(self._split, path, self._places(part)) for part, path in parts.items()}
        )

    def _places(self, part: str) -> list[Path]:
        roots = [self.images] if self.images else [self.source, self.source / "images"]
        return [root / part for root in roots]

    def _split(self, path: Path, places: list[Path]) -> Split:
        folder, content = first_folder(places, EXPECTED), read_coco(path, annotation={"category_id": ID})
        released = {number: str(category["name"]) for number, category in content.categories.items()}
        if nameless := [str(number) for number, name in released.items() if not name.strip()]:
            raise LayoutError(f"{path}: the categories {shorten(nameless)} have no name; give them one")
        said = spoken_labels(released.values())
        names = {number: said[name] for number, name in released.items()}
        manifest = self._manifest(content, names, other_labels(said))
        return regions_split(manifest, content, names, lambda image: folder / image["file_name"])

    def _manifest(
        self, content: CocoFile, names: Mapping[int, str], aliases: Mapping[str, tuple[str, ...]]
    ) -> Manifest:
        return Manifest(
            name=self.name,
            categories=tuple(dict.fromkeys(names.values())),
            unannotated=self.unannotated,
            origin=f"{self.name}: {content.path.name} in COCO's form",
            licence="as its source states; COCO: annotations CC BY 4.0, images under the terms of Flickr",
            aliases=aliases,
        )
