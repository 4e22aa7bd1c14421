"""BDD100K: 10,000 street scenes of the United States, 19 classes, eight of which are told apart.

Source: Yu et al. (CVPR 2020); the format pages of the BDD100K documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from lasagna.core.record import Manifest, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, read_file, read_label_file
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, pair_up, with_objects
from lasagna.datamodules.converters.common.names import named_manifest, packaged_names
from lasagna.datamodules.converters.common.object_maps import object_regions
from lasagna.errors import RecordError

VOID = 255
THINGS = range(1, 9)
"""Numbers of the classes that are told apart: person, rider, car, truck, bus, train, motorcycle, bicycle."""

FIRST_THING = 11
"""Label value of the first of them."""

CROWD, IGNORED = 1 << 1, 1 << 0
"""Attributes of an object: it stands for several, or is not to be counted."""

PLACES = (
    ("images/10k", "labels/sem_seg/masks", ""),
    ("seg/images", "seg/labels", "_train_id"),
)
"""Folders of images and labels, and the ending of label files, in the present release and in the first one."""

OBJECTS = "labels/ins_seg/bitmasks"
EXPECTED = """
  images/10k/{train,val}/<name>.jpg, labels/sem_seg/masks/{train,val}/<name>.png
  and, to tell objects apart, labels/ins_seg/bitmasks/{train,val}/<name>.png"""


class BDD100K(Converter):
    """BDD100K's semantic segmentation, with objects where ``ins_seg`` is there; its classes are those of Cityscapes.

    Objects that stand for several or are to be ignored are crowds. The test images have no labels.

    Args:
        source: The folder that holds ``images`` and ``labels``, or the first release's ``seg``.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return train and val, if they exist.

        Raises:
            LayoutError: If the folder does not have the expected layout; later, if images and labels do not pair up.
        """
        for images, labels, ending in PLACES:
            parts = [name for name in ("train", "val") if (self.source / labels / name).is_dir()]
            if parts:
                return LazySplits({name: partial(self._split, name, images, labels, ending) for name in parts})
        raise LayoutError(f"source: {self.source} holds no labels of BDD100K; expected{EXPECTED}")

    def _split(self, name: str, images: str, labels: str, ending: str) -> Split:
        pictures = files_by_key(self.source / images / name, (".jpg",))
        maps = files_by_key(self.source / labels / name, (".png",), ending)
        pairs = pair_up(pictures, maps, str(self.source / images / name))
        folder = self.source / OBJECTS / name
        objects = files_by_key(folder, (".png",)) if folder.is_dir() else {}
        return labelled_split(bdd_manifest(), with_objects(pairs, objects), read_file, read_objects=read_bitmask)


def read_bitmask(label: Path, path: Path) -> tuple[Region, ...]:
    """Return the objects in a file of four channels: class, attributes, and a number of two bytes.

    Args:
        label: The label file, which is not needed.
        path: The file of objects.

    Raises:
        RecordError: If the file cannot be decoded, or has not four channels.
    """
    channels = read_label_file(path)
    if channels.ndim != 3 or channels.shape[2] != 4:
        raise RecordError(f"{path}: files of objects have four channels, but this one has shape {channels.shape}")
    wide = channels.astype(np.int64)
    numbers = wide[..., 0] << 24 | wide[..., 1] << 16 | wide[..., 2] << 8 | wide[..., 3]
    names = bdd_manifest().labels
    found = {number: number >> 24 for number in np.unique(numbers).tolist() if number >> 24 in THINGS}
    named = {number: names[FIRST_THING + kind - THINGS[0]] for number, kind in found.items()}
    groups = {number for number in named if number >> 16 & (CROWD | IGNORED)}
    objects = {number: name for number, name in named.items() if number not in groups}
    return object_regions(numbers, objects, {number: named[number] for number in named if number in groups})


def bdd_manifest() -> Manifest:
    """Return the manifest of the 19 classes, whose values are Cityscapes' training ids."""
    return named_manifest(
        "bdd100k-19",
        dict(enumerate(packaged_names("cityscapes").values())),
        origin="BDD100K, semantic segmentation of 10K images",
        licence="BSD-like terms of the BDD100K authors; see its documentation",
        void=(VOID,),
    )
