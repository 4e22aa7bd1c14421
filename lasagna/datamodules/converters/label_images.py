"""The user's own label images: a PNG of values or colours for each image, and a file that names the classes.

Source: the format pages of CVAT ("Segmentation mask") and Roboflow, and the layout of PASCAL VOC's development kit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import (
    MOST_LISTED,
    Exif,
    LayoutError,
    png_of,
    read_annotated_image_file,
    read_label_file,
)
from lasagna.datamodules.converters.common.label_maps import ColourLabels, Pair, colour_codes
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels
from lasagna.datamodules.converters.common.object_maps import majority_regions
from lasagna.datamodules.converters.label_classes import FORMS, USUAL, read_classes
from lasagna.datamodules.converters.label_folders import SPLITS, Part, find_pairs, find_parts
from lasagna.datamodules.shards.tally import ReadResult
from lasagna.errors import ConfigError, RecordError

VOID = ("void", "ignore", "ignored", "__ignore__", "unlabeled", "unlabelled")
BACKGROUND = ("background", "_background_", "__background__")
"""Names of classes that are none, unless options say otherwise."""

Labels = NDArray[np.uint8] | NDArray[np.uint16]


class LabelImages(Converter):
    """Images with a label image each, whose values or colours a file of classes names.

    Label images with one channel hold values, and so do those whose three channels are equal. Those with a palette hold
    values if the file of classes has values, else colours. Where ``SegmentationObject`` is there, objects are told
    apart. Underscores in names become blanks, and the original names are aliases.

    Args:
        source: The folder.
        classes: The file of classes; by default one of the usual names in the source.
        images: The folder of the images, if it has no usual name.
        labels: The folder of the label images, if it has no usual name.
        ending: What the stems of label images have besides those of their images, e.g. "_mask".
        void: Names or values that count in no loss and no score, separated by commas; by default classes that are
            called so ("void", "ignore", "unlabeled").
        background: Names or values of annotated pixels that belong to no class; by default a class of this name.
        unannotated: What it means that an image has no pixel of a class: it is "absent", or it is "unknown".
        exif: How images were annotated whose EXIF tag turns them, where the size of the label image does not tell: as
            they are "stored", or as they are "seen"; "ask" stops at the first of them.
    """

    def __init__(
        self,
        source: Path,
        classes: Path | None = None,
        images: Path | None = None,
        labels: Path | None = None,
        ending: str = "",
        void: str | None = None,
        background: str | None = None,
        unannotated: Literal["absent", "unknown"] = "absent",
        exif: Exif = "ask",
    ) -> None:
        self.source = source
        self.classes = classes
        self.images = images
        self.labels = labels
        self.ending = ending
        self.void = void
        self.background = background
        self.unannotated = unannotated
        self.exif: Exif = exif

    def splits(self) -> Mapping[str, Split]:
        """Return the splits that folders or lists name, or all images as "train".

        Raises:
            LayoutError: If there are no label images or no file of classes; later, if files do not pair up.
            ConfigError: If an option names a class that is not there.
        """
        parts = find_parts(self.source, self.images, self.labels)
        path = self.classes or _usual_file(self.source)
        classes = read_classes(path)
        # colours get their rank in the file as their value
        names = {code if isinstance(code, int) else rank: name for rank, (code, name) in enumerate(classes.items())}
        colours = {code: rank for rank, code in enumerate(classes) if not isinstance(code, int)}
        void = _chosen("void", self.void, VOID, names, not colours)
        background = _chosen("background", self.background, BACKGROUND, names, not colours)
        manifest = self._manifest(names, void - background, background)
        notes = [
            f"{names[value]!r} {'belongs to no class' if value in background else 'is ignored'}"
            for value in sorted((void | background) & names.keys())
        ]
        read = ReadLabelImages(manifest, ColourLabels(colours, _way_out(path)) if colours else None, path, self.exif)
        return LazySplits({split: partial(self._split, part, read, notes) for split, part in parts.items()})

    def _manifest(self, classes: Mapping[int, str], void: Collection[int], background: Collection[int]) -> Manifest:
        names = {value: name for value, name in classes.items() if value not in (*void, *background)}
        said = spoken_labels(names.values())
        return Manifest(
            name=self.source.resolve().name,
            categories=tuple(dict.fromkeys(said.values())),
            labels={value: said[name] for value, name in names.items()},
            void=tuple(sorted(void)),
            background=tuple(sorted(background)),
            unannotated=self.unannotated,
            origin="the user's own data, label images",
            licence="the user's own",
            aliases=other_labels(said),
        )

    def _split(self, part: Part, read: ReadLabelImages, notes: Sequence[str]) -> Split:
        pairs = find_pairs(part, self.ending)
        files = [path for pair in pairs for path in (pair.image, pair.label, pair.objects) if path is not None]
        listed = [part.listed] if part.listed else []
        return Split(read.manifest, pairs, read, files, notes, annotations=[read.path, *listed])


def _usual_file(source: Path) -> Path:
    """Return the file of classes in a folder, or in the folder of a split."""
    folders = [source, *(source / split for split in SPLITS)]
    if found := next((folder / name for folder in folders for name in USUAL if (folder / name).is_file()), None):
        return found
    raise LayoutError(
        f"source: there is no file of classes in {source} ({', '.join(USUAL)}); give one by `--classes`: {FORMS}"
    )


def _chosen(
    option: str, given: str | None, usual: Collection[str], names: Mapping[int, str], has_values: bool
) -> set[int]:
    """Return the values of the classes that an option names, or else of those with a usual name."""
    wanted = usual if given is None else [part.strip() for part in given.split(",") if part.strip()]
    found: set[int] = set()
    for word in wanted:
        if named := {value for value, name in names.items() if normalise(name) == normalise(word)}:
            found |= named
        elif word.isdecimal() and has_values:
            found.add(int(word))
        elif given is not None:
            raise ConfigError(f"{option}: there is no class {word!r}; there are {', '.join(names.values())}")
    return found


def _way_out(path: Path) -> str:
    return f"name them in {path}, as 'void' if they are to be ignored"


@dataclass(frozen=True)
class ReadLabelImages:
    """Reads an image with its label image.

    Args:
        manifest: What holds for all records.
        colours: Label value of each colour, or None if label images hold values.
        path: The file of classes.
        exif: How images were annotated that an EXIF tag turns.
    """

    manifest: Manifest
    colours: ColourLabels | None
    path: Path
    exif: Exif = "ask"

    def __call__(self, pair: Pair) -> ReadResult:
        """Read one pair.

        Raises:
            RecordError: If a file is broken, they differ in size, or the label image has values without a name.
        """
        labels = self._values(pair.label) if self.colours is None else self.colours.values_of(pair.label)
        data, size = read_annotated_image_file(pair.image, labels.shape, self.exif)
        regions = () if pair.objects is None else self._objects(pair.objects, labels)
        return ReadResult(Record(pair.key, data, size, self.manifest, regions, label_bytes=png_of(labels)))

    def _values(self, path: Path) -> Labels:
        """Return the values of a label image that holds values."""
        pixels = read_label_file(path)
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim != 2 or pixels.dtype.kind not in "bui" or pixels.max(initial=0) >= 1 << 16:
            raise RecordError(
                f"{path}: expected a value in one channel, as {self.path} names them, but this file has shape "
                f"{pixels.shape} and {pixels.dtype}; name colours there, or export values"
            )
        labels: Labels = pixels.astype(np.uint8) if pixels.max(initial=0) < 1 << 8 else pixels.astype(np.uint16)
        found, counts = np.unique(labels, return_counts=True)
        unknown = {value: count for value, count in zip(found.tolist(), counts.tolist(), strict=True)}
        unknown = {value: count for value, count in unknown.items() if value not in self.manifest.values}
        if unknown:
            shown = ", ".join(f"{value} ({count} pixels)" for value, count in [*unknown.items()][:MOST_LISTED])
            listed = ",".join(map(str, unknown))
            raise RecordError(
                f"{path}: {len(unknown)} values have no name: {shown}; name them in {self.path}, ignore them by "
                f"`--void {listed}`, or take them as pixels of no class by `--background {listed}`"
            )
        return labels

    def _objects(self, path: Path, labels: Labels) -> tuple[Region, ...]:
        numbers = read_label_file(path)
        if numbers.shape[:2] != labels.shape:
            raise RecordError(f"{path}: it has size {numbers.shape[:2]}, the labels {labels.shape}; both must agree")
        codes = colour_codes(numbers[..., :3]) if numbers.ndim == 3 else numbers.astype(np.int64)
        return majority_regions(codes, labels.astype(np.int64), self.manifest.labels)
