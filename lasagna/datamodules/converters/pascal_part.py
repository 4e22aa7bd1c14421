"""PASCAL-Part in the form of VLPart: 93 kinds of parts of 19 kinds of things.

Source: Chen et al. (CVPR 2014); ``facebookresearch/VLPart``, tools/pascal_part_mat2json.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.coco import read_coco
from lasagna.datamodules.converters.common.coco_regions import regions_split
from lasagna.datamodules.converters.common.files import LayoutError, first_folder
from lasagna.datamodules.converters.common.names import spoken_part_names

EXPECTED = """
  {train,val}.json, in the folder, in `pascal_part`, in `vlpart/pascal_part` or in `annotations`
  VOCdevkit/VOC2010/JPEGImages/<image>.jpg, or `--images`"""


class PascalPart(Converter):
    """PASCAL-Part; "bird:beak" is called "bird beak", and parts that are not annotated are absent.

    Args:
        source: The folder that holds the annotation files.
        images: The folder of the images, if it is not ``VOCdevkit/VOC2010/JPEGImages`` in the source or beside it.
    """

    def __init__(self, source: Path, images: Path | None = None) -> None:
        self.source = source
        self.images = images

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose annotation files exist.

        Raises:
            LayoutError: If there is no annotation file or no folder of images; later, if one is broken.
        """
        inner = ("", "pascal_part", "vlpart/pascal_part", "annotations")
        roots = [self.source / part for part in inner]
        files = [(part, root / f"{part}.json") for part in ("train", "val") for root in roots]
        found = {part: path for part, path in files if path.is_file()}
        if not found:
            raise LayoutError(f"source: {self.source} holds no annotation files of PASCAL-Part; expected{EXPECTED}")
        voc = Path("VOCdevkit/VOC2010/JPEGImages")
        places = [self.images] if self.images else [self.source / voc, self.source.parent / voc]
        folder = first_folder(places, EXPECTED)
        return LazySplits({part: partial(_split, path, folder) for part, path in found.items()})


def _split(path: Path, folder: Path) -> Split:
    content = read_coco(path)
    released = {number: category["name"] for number, category in content.categories.items()}
    names = spoken_part_names(released)
    manifest = Manifest(
        name="pascal-part-93",
        categories=tuple(names.values()),
        origin="PASCAL-Part in the form of VLPart",
        licence="research; images under the terms of Flickr",
        aliases={names[number]: (name,) for number, name in released.items() if name != names[number]},
    )
    return regions_split(manifest, content, names, lambda image: folder / Path(image["file_name"]).name)
