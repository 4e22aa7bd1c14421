"""LVIS: 1,203 categories (version 1) or 1,230 (version 0.5) on photographs of COCO; few are known on each image.

Source: Gupta, Dollar, Girshick (CVPR 2019); ``lvis-dataset/lvis-api``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import CocoFile, read_coco
from lasagna.datamodules.converters.common.coco_regions import images_root, regions_split
from lasagna.datamodules.converters.common.entries import check_inner, check_lists
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.names import spoken_lvis_names

EXPECTED = """
  lvis_v1_{train,val}.json (or lvis_v0.5_{train,val}.json), in the folder or in `annotations`
  {train,val}2017/<image id>.jpg, in the folder or in that of `--images`"""


class LVIS(Converter):
    """LVIS; the folder of an image is read from its ``coco_url``, since val also has images of train2017.

    Categories that are not annotated are unknown; only those that an image lists as verified to be absent count as
    absent. Those that it lists as not exhaustively annotated are unclear. Names lose their underscores, and their
    qualifiers where they are unique without them; synonyms are aliases.

    Args:
        source: The folder that holds the annotation files.
        images: The folder that holds ``train2017`` and ``val2017``, if that is another folder.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file, or several for a split; later, if one is broken.
        """
        files = [*self.source.glob("lvis_v*.json"), *(self.source / "annotations").glob("lvis_v*.json")]
        parts = {path.stem.split("_")[2]: path for path in sorted(files) if path.stem.count("_") == 2}
        if not parts:
            raise LayoutError(f"source: {self.source} holds no annotation files of LVIS; expected{EXPECTED}")
        if len(parts) < len(files):
            raise LayoutError(f"source: {self.source} holds several versions of LVIS; keep the files of one")
        return LazySplits({part: partial(self._split, path) for part, path in parts.items()})

    def _split(self, path: Path) -> Split:
        content = read_coco(path, image={"coco_url": str})
        check_lists(content.categories.values(), "synonyms", (str,), f"{path}: categories")
        names = spoken_lvis_names({number: category["name"] for number, category in content.categories.items()})
        folder = images_root(self.images or self.source)
        manifest = _manifest(content, names)
        return regions_split(manifest, content, names, lambda image: folder / _place(image), federated=True)


def _place(image: Mapping[str, Any]) -> Path:
    """Return the folder and name of an image, e.g. "train2017/000000000009.jpg"."""
    return Path(check_inner("/".join(PurePosixPath(image["coco_url"]).parts[-2:]), f"image {image['id']}"))


def _manifest(content: CocoFile, names: Mapping[int, str]) -> Manifest:
    aliases = {}
    for number, category in content.categories.items():
        others = {other.replace("_", " ") for other in category.get("synonyms", ())} - set(names.values())
        if others:
            aliases[names[number]] = tuple(sorted(others))
    return Manifest(
        name=content.path.stem.rsplit("_", 1)[0].replace("_", "-"),
        categories=tuple(names.values()),
        unannotated="unknown",
        origin="LVIS (lvisdataset.org)",
        licence="annotations CC BY 4.0; images under the terms of Flickr",
        aliases=aliases,
    )
