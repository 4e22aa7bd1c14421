"""PACO-LVIS: 75 kinds of objects and 456 kinds of their parts.

Source: Ramanathan et al. (CVPR 2023); ``facebookresearch/paco``, docs/PACO_DATASET.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import read_coco
from lasagna.datamodules.converters.common.coco_regions import images_root, regions_split
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.names import spoken_part_names

EXPECTED = """
  paco_lvis_v1_{train,val,test}.json, in the folder or in `annotations`
  {train,val}2017/<image id>.jpg, in the folder or in that of `--images`"""


class PACO(Converter):
    """PACO-LVIS; the name of a part includes its object: "table:apron" is "table apron".

    Categories that are not annotated are unknown; only those that an image lists as verified to be absent count as
    absent. Those that it lists as not exhaustively annotated are unclear, and so are their parts. The test images, and
    some of val, are in COCO's val2017.

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
            federated=True,
            parts=_parts(names, released),
        )


def _parts(names: Mapping[int, str], released: Mapping[int, str]) -> dict[str, list[str]]:
    """Return the names of the parts of each kind of object."""
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
