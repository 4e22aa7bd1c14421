"""The user's own label images: a PNG of values or colours for each image, and a file that names the classes.

Source: the format pages of CVAT ("Segmentation mask") and Roboflow, and the layout of PASCAL VOC's development kit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.files import (
    Exif,
    png_of,
    read_annotated_image_file,
    read_label_file,
)
from lasagna.datamodules.converters.common.label_maps import Pair, colour_codes
from lasagna.datamodules.converters.common.label_scheme import Labels, LabelScheme, label_scheme
from lasagna.datamodules.converters.common.object_maps import majority_regions
from lasagna.datamodules.converters.label_classes import find_classes, read_classes
from lasagna.datamodules.converters.label_folders import SPLITS, Part, find_pairs, find_parts
from lasagna.datamodules.shards.tally import ReadResult
from lasagna.errors import RecordError


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
        path = self.classes or find_classes(self.source, SPLITS)
        scheme = label_scheme(read_classes(path), str(path), self.void, self.background)
        read = ReadLabelImages(scheme.manifest(self.source.resolve().name, self.unannotated), scheme, self.exif)
        return LazySplits({split: partial(self._split, part, read, path) for split, part in parts.items()})

    def _split(self, part: Part, read: ReadLabelImages, path: Path) -> Split:
        pairs = find_pairs(part, self.ending)
        files = [path for pair in pairs for path in (pair.image, pair.label, pair.objects) if path is not None]
        listed = [part.listed] if part.listed else []
        return Split(read.manifest, pairs, read, files, read.scheme.notes(), annotations=[path, *listed])


@dataclass(frozen=True)
class ReadLabelImages:
    """Reads an image with its label image.

    Args:
        manifest: What holds for all records.
        scheme: What values or colours mean.
        exif: How images were annotated that an EXIF tag turns.
    """

    manifest: Manifest
    scheme: LabelScheme
    exif: Exif = "ask"

    def __call__(self, pair: Pair) -> ReadResult:
        """Read one pair.

        Raises:
            RecordError: If a file is broken, they differ in size, or the label image has values without a name.
        """
        labels = self.scheme.read(pair.label, str(pair.label))
        data, size = read_annotated_image_file(pair.image, labels.shape, self.exif)
        regions = () if pair.objects is None else self._objects(pair.objects, labels)
        return ReadResult(Record(pair.key, data, size, self.manifest, regions, label_bytes=png_of(labels)))

    def _objects(self, path: Path, labels: Labels) -> tuple[Region, ...]:
        numbers = read_label_file(path)
        if numbers.shape[:2] != labels.shape:
            raise RecordError(f"{path}: it has size {numbers.shape[:2]}, the labels {labels.shape}; both must agree")
        codes = colour_codes(numbers[..., :3]) if numbers.ndim == 3 else numbers.astype(np.int64)
        return majority_regions(codes, labels.astype(np.int64), self.manifest.labels)
