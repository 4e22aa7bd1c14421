"""iSAID: aerial pictures of up to 13,000 pixels a side, with 655,451 objects of 15 classes.

Source: Zamir et al. (CVPR workshops 2019), arXiv 1905.12886; ``CAPTAIN-WHU/iSAID_Devkit``, ``README.md`` and
``preprocess/cityscapesScripts/cityscapesscripts/helpers/labels.py`` (classes and colours). The pictures are those of
DOTA-v1.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from lasagna.core.record import Manifest, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import LayoutError, label_pixels
from lasagna.datamodules.converters.common.label_maps import (
    Colour,
    ColourLabels,
    colour_codes,
    files_by_key,
    labelled_split,
    listed_pairs,
    with_objects,
)
from lasagna.datamodules.converters.common.names import named_manifest
from lasagna.datamodules.converters.common.object_maps import majority_regions

NONE = 0
"""Label value of pixels of no class."""

CLASSES: Mapping[str, Colour] = {
    "ship": (0, 0, 63),
    "storage_tank": (0, 63, 63),
    "baseball_diamond": (0, 63, 0),
    "tennis_court": (0, 63, 127),
    "basketball_court": (0, 63, 191),
    "Ground_Track_Field": (0, 63, 255),
    "Bridge": (0, 127, 63),
    "Large_Vehicle": (0, 127, 127),
    "Small_Vehicle": (0, 0, 127),
    "Helicopter": (0, 0, 191),
    "Swimming_pool": (0, 0, 255),
    "Roundabout": (0, 191, 127),
    "Soccer_ball_field": (0, 127, 191),
    "plane": (0, 127, 255),
    "Harbor": (0, 100, 155),
}
"""Name in the release and colour of each class, in the order of the label values from 1 on."""

COLOURS: Mapping[Colour, int] = {(0, 0, 0): NONE, **{colour: rank for rank, colour in enumerate(CLASSES.values(), 1)}}
SPLITS = ("train", "val")
LABEL, OBJECTS = "_instance_color_RGB", "_instance_id_RGB"
PLACES = {
    "": ("images", "Images"),
    LABEL: ("Semantic_masks/images", "semantic_masks", "Semantic_masks"),
    OBJECTS: ("Instance_masks/images", "instance_masks", "Instance_masks"),
}
"""Ending of the files of a kind to the folders that may hold them, besides that of the pictures."""

EXPECTED = f"""
  {{train,val}}/images/P0000.png
  {{train,val}}/images/P0000{LABEL}.png, or in Semantic_masks/images/
  {{train,val}}/images/P0000{OBJECTS}.png, or in Instance_masks/images/"""


class ISAID(Converter):
    """iSAID with every object; the masks are those of the files of colours, as the devkit reads them.

    Names are as people say them ("storage tank"); those of the release are aliases. Black pixels belong to no class.
    The pictures are large: convert them as they are, and cut the shards by ``lasagna convert tiles``. The masks of the
    test split are withheld, so it is not converted.

    Args:
        source: The folder that holds ``train`` and ``val``.
    """

    def __init__(self, source: Path) -> None:
        self.source = source

    def splits(self) -> Mapping[str, Split]:
        """Return train and val, if they exist.

        Raises:
            LayoutError: If neither does; later, if a split has pictures but no masks.
        """
        found = {name: self.source / name for name in SPLITS if (self.source / name).is_dir()}
        if not found:
            raise LayoutError(f"source: {self.source} holds neither train nor val; expected{EXPECTED}")
        return LazySplits({name: partial(_split, folder) for name, folder in found.items()})


def _split(folder: Path) -> Split:
    images, labels, objects = (_files(folder, ending) for ending in PLACES)
    images = {key: path for key, path in images.items() if not key.endswith((LABEL, OBJECTS))}
    if not images and not labels:
        raise LayoutError(f"source: {folder} holds no pictures of iSAID; expected{EXPECTED}")
    pairs = listed_pairs(images, labels, list(dict.fromkeys((*images, *labels))), str(folder))
    return labelled_split(
        isaid_manifest(), with_objects(pairs, objects), ColourLabels(COLOURS), read_objects=read_objects
    )


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files of a kind by key."""
    found: dict[str, Path] = {}
    for place in (*PLACES[""], *PLACES[ending]):
        if (folder / place).is_dir():
            found |= files_by_key(folder / place, (".png",), ending)
    return found


def read_objects(label: Path, path: Path) -> tuple[Region, ...]:
    """Return the objects of a file in which each has a colour of its own.

    Args:
        label: The file of colours of classes.
        path: The file of colours of objects.

    Raises:
        RecordError: If one cannot be decoded, or has a colour of no class.
    """
    labels = ColourLabels(COLOURS).values_of(label, str(label))
    numbers = colour_codes(label_pixels(path, str(path), "RGB"))
    return majority_regions(numbers, labels, isaid_manifest().labels)


def isaid_manifest() -> Manifest:
    """Return the manifest of the 15 classes."""
    said = {name: name.replace("_", " ").lower() for name in CLASSES}
    names = {rank: (said[name], *([name] if said[name] != name else [])) for rank, name in enumerate(CLASSES, 1)}
    manifest = named_manifest(
        "isaid-15",
        names,
        origin="iSAID, over the pictures of DOTA-v1.0",
        licence="academic use only; terms of captain-whu.github.io/iSAID and of Google Earth",
    )
    return replace(manifest, background=(NONE,))
