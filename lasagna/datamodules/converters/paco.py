"""PACO-LVIS: 75 kinds of objects and 456 kinds of their parts.

Source: Ramanathan et al. (CVPR 2023); ``facebookresearch/paco``, docs/PACO_DATASET.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import images_root, read_coco, regions_split
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.lvis import spoken_lvis_names

NEGATIVES = "neg_category_ids"
MISSPELLED = {"colied tube": "coiled tube"}
"""Part names with a slip in the release, which is kept as an alias."""

EXPECTED = """
  paco_lvis_v1_{train,val,test}.json, in the folder or in `annotations`
  {train,val}2017/<image id>.jpg, or these in the folder of `--images`"""


class PACO(Converter):
    """PACO-LVIS; a part is called by its object and itself: "table:apron" is "table apron".

    What is not annotated is unknown; only the categories that an image lists as verified to be absent may be called so.
    Those of which it says that only some things are annotated are unclear on it, and so are their parts. Its test
    images, and some of val, are in COCO's val2017.

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
            LayoutError: If there is no annotation file; later, if one is broken.
        """
        files = [*self.source.glob("paco_lvis_v1_*.json"), *(self.source / "annotations").glob("paco_lvis_v1_*.json")]
        parts = {path.stem.removeprefix("paco_lvis_v1_"): path for path in sorted(files)}
        if not parts:
            raise LayoutError(f"source: {self.source} holds no annotation files of PACO-LVIS; expected{EXPECTED}")
        return LazySplits({part: partial(self._split, path) for part, path in parts.items()})

    def _split(self, path: Path) -> Split:
        content = read_coco(path)
        released = {number: category["name"] for number, category in content.categories.items()}
        names = spoken_part_names(released)
        folder = images_root(self.images or self.source)
        return regions_split(
            _manifest(names, released),
            content,
            names,
            lambda image: folder / image["file_name"],
            NEGATIVES,
            _parts(names, released),
        )


def spoken_part_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return names of objects and of parts ("object:part") as people say them, by id.

    Args:
        names: The names in the release.
    """
    objects = sorted({name.partition(":")[0] for name in names.values()})
    said = dict(zip(objects, spoken_lvis_names(dict(enumerate(objects))).values(), strict=True))
    return {number: _part(*name.partition(":")[::2], said) for number, name in names.items()}


def _part(thing: str, part: str, said: Mapping[str, str]) -> str:
    words = part.replace("_", " ")
    return f"{said[thing]} {MISSPELLED.get(words, words)}".strip()


def _parts(names: Mapping[int, str], released: Mapping[int, str]) -> dict[str, list[str]]:
    """Return the names of the parts of each kind of objects."""
    owners = {name: names[number] for number, name in released.items()}
    found: dict[str, list[str]] = {}
    for number, name in released.items():
        thing, colon, _ = name.partition(":")
        if colon and thing in owners:
            found.setdefault(owners[thing], []).append(names[number])
    return found


def _manifest(names: Mapping[int, str], released: Mapping[int, str]) -> Manifest:
    return Manifest(
        name="paco-lvis",
        categories=tuple(names.values()),
        unannotated="unknown",
        origin="PACO-LVIS v1 (facebookresearch/paco)",
        licence="annotations CC BY 4.0 as for LVIS; images under the terms of Flickr",
        aliases={names[number]: (name,) for number, name in released.items() if name != names[number]},
    )
