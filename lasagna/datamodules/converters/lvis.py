"""LVIS: 1,203 categories (version 1) or 1,230 (version 0.5) on photographs of COCO; only some are known on each.

Source: Gupta, Dollar, Girshick (CVPR 2019); ``lvis-dataset/lvis-api``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import CocoFile, images_root, read_coco, regions_split
from lasagna.datamodules.converters.common.files import LayoutError, check_inner, check_texts

_QUALIFIER = re.compile(r"_?\((?P<words>[^)]*)\)\s*")


def spoken_lvis_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return names by id, without underscores, and without their qualifiers where they are unique without.

    "mouse_(computer_equipment)" is "mouse", "fish_(food)" stays "fish (food)" since there is also a fish.

    Args:
        names: The names in the release.
    """
    plain = {number: _plain(name) for number, name in names.items()}
    counts = Counter(plain.values())
    return {number: name if counts[name] == 1 else _qualified(names[number]) for number, name in plain.items()}


def _plain(name: str) -> str:
    # "monitor_(computer_equipment) computer_monitor" says after its qualifier what it is
    last = [part for part in _QUALIFIER.sub("\n", name).split("\n") if part][-1]
    return last.replace("_", " ").strip()


def _qualified(name: str) -> str:
    return _QUALIFIER.sub(lambda found: f" ({found['words']})", name).replace("_", " ").strip()


NEGATIVES = "neg_category_ids"
EXPECTED = """
  lvis_v1_{train,val}.json (or lvis_v0.5_{train,val}.json), in the folder or in `annotations`
  {train,val}2017/<image id>.jpg, or these in the folder of `--images`"""


class LVIS(Converter):
    """LVIS; where an image lies is read from its ``coco_url``, since val has images of train2017 as well.

    What is not annotated is unknown; only the categories that an image lists as verified to be absent may be called so.
    Those of which it says that only some things are annotated are unclear on it. Names lose their underscores, and
    their qualifiers where they are unique without; synonyms are aliases.

    Args:
        source: The folder that holds the annotation files.
        images: The folder that holds ``train2017`` and ``val2017``, if it is another one.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files are there.

        Raises:
            LayoutError: If there is no annotation file, or several of a split; later, if one is broken.
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
        check_texts(content.content["categories"], "synonyms", (str,), f"{path}: categories")
        names = spoken_lvis_names({number: category["name"] for number, category in content.categories.items()})
        folder = images_root(self.images or self.source)
        return regions_split(_manifest(content, names), content, names, lambda image: folder / _place(image), NEGATIVES)


def _place(image: Mapping[str, Any]) -> Path:
    """Return folder and name of an image, e.g. "train2017/000000000009.jpg"."""
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
