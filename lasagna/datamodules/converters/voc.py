"""PASCAL VOC 2012 segmentation: 20 kinds of things.

Source: Everingham et al. (IJCV 2010 and 2015), the development kit's layout.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from lasagna.core.record import Manifest, Region
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.files import LayoutError, first_folder, read_file, shorten, text_lines
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, listed_pairs, with_objects
from lasagna.datamodules.converters.common.names import named_manifest, packaged_names
from lasagna.datamodules.converters.common.object_maps import majority_regions, read_numbers
from lasagna.errors import RecordError

BACKGROUND, BORDER = 0, 255
RELEASED = re.compile(r"(\d{4}_)?\d{6}")
"""Names of the images of PASCAL VOC, those of 2007 without a year."""

EXPECTED = """
  JPEGImages/<image>.jpg
  SegmentationClass/<image>.png (or SegmentationClassAug with --augmented true)
  ImageSets/Segmentation/{train,val}.txt"""


class VOC(Converter):
    """PASCAL VOC; label files stay as they are (palette or grey): 0 background, 1 to 20 classes, 255 borders of things.

    Borders are ignored. By default the background is ignored as well, as in the PAS-20 benchmark; with "none", its
    pixels count and belong to no category. Things are told apart where ``SegmentationObject`` is there, which does not
    go with the augmented labels.

    Args:
        source: The folder ``VOC2012`` (or another year's), or the one that holds it as ``VOCdevkit/VOC2012``.
        augmented: Whether to read ``SegmentationClassAug``, the labels of SBD in the form of VOC; the split "train"
            then has all images with such labels that are not in val, unless ``train_aug.txt`` lists them.
        background: How pixels without a class are treated.
    """

    def __init__(
        self, source: Path, augmented: bool = False, background: Literal["ignored", "none"] = "ignored"
    ) -> None:
        self.source = source
        self.augmented = augmented
        self.background = background

    def splits(self) -> Mapping[str, Split]:
        """Return train and val as listed, or "trainval" if that is the only list.

        Raises:
            LayoutError: If the folder does not have the expected layout, has classes of its own, or no image is
                listed.
        """
        inner = [path for path in sorted(self.source.glob("VOC*")) if path.is_dir()]
        roots = [self.source, *inner, *sorted(self.source.glob("VOCdevkit/VOC*"))]
        root = first_folder([folder / "JPEGImages" for folder in roots], EXPECTED).parent
        if own := next((root / name for name in ("labelmap.txt", "class_names.txt") if (root / name).is_file()), None):
            raise LayoutError(
                f"{own}: this folder has classes of its own, and `voc` knows only those of PASCAL VOC; convert it with "
                "`label_images`"
            )
        folder = "SegmentationClassAug" if self.augmented else "SegmentationClass"
        labels = files_by_key(first_folder([root / folder], EXPECTED), (".png",))
        images = files_by_key(root / "JPEGImages", (".jpg",))
        lists = self._lists(root / "ImageSets" / "Segmentation", sorted(labels))
        if not any(lists.values()):
            raise LayoutError(f"source: {root} has no list of the images of a split; expected{EXPECTED}")
        if other := [key for keys in lists.values() for key in keys if not RELEASED.fullmatch(key)]:
            raise LayoutError(
                f"source: {len(other)} images of {root} are none of PASCAL VOC ({shorten(other)}), whose values 1 to "
                "20 are aeroplane, bicycle and so on; convert a folder with classes of its own with `label_images`"
            )
        manifest = voc_manifest(self.background)
        things = root / "SegmentationObject"
        objects = files_by_key(things, (".png",)) if things.is_dir() and not self.augmented else {}
        pairs = {split: listed_pairs(images, labels, keys, str(root)) for split, keys in lists.items() if keys}
        return {
            split: labelled_split(manifest, with_objects(part, objects), read_file, read_objects=read_things)
            for split, part in pairs.items()
        }

    def _lists(self, folder: Path, labelled: Sequence[str]) -> dict[str, list[str]]:
        lists = {split: _read_list(folder / f"{split}.txt") for split in ("train", "val")}
        if not any(lists.values()):
            lists["trainval"] = _read_list(folder / "trainval.txt")
        if self.augmented:
            listed = _read_list(folder / "train_aug.txt")
            lists["train"] = listed or [key for key in labelled if key not in set(lists["val"])]
        return lists


def read_things(label: Path, path: Path) -> tuple[Region, ...]:
    """Return the things of an image, each with its most frequent class; a few of its pixels may have another one.

    Args:
        label: The label file, which has the class of each thing.
        path: The file of objects: 0 background, 255 borders, the numbers of the things.

    Raises:
        RecordError: If a file cannot be decoded, or the two differ in size.
    """
    numbers, labels, names = read_numbers(path), read_numbers(label), voc_manifest().labels
    if numbers.shape != labels.shape:
        raise RecordError(f"{path}: it has size {numbers.shape}, {label} has {labels.shape}; both must agree")
    return majority_regions(np.where(numbers == BORDER, BACKGROUND, numbers), labels, names)


def voc_manifest(background: str = "ignored") -> Manifest:
    """Return the manifest of the 20 classes."""
    manifest = named_manifest(
        "pascal-voc-20",
        packaged_names("pascal_voc"),
        origin="PASCAL VOC 2012, segmentation",
        licence="images under the terms of Flickr",
        void=(BACKGROUND, BORDER),
    )
    return manifest if background == "ignored" else replace(manifest, void=(BORDER,), background=(BACKGROUND,))


def _read_list(path: Path) -> list[str]:
    lines = text_lines(path) if path.is_file() else []
    return list(dict.fromkeys(Path(line.split()[-1]).stem for line in lines if line.strip()))
