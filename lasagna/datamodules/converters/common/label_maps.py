"""Reading pairs of image and label file as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lasagna.core.record import Manifest, Record
from lasagna.datamodules.converters.common.base import Split
from lasagna.datamodules.converters.common.files import MOST_LISTED, Pair, png_of, read_image_file, read_label_file
from lasagna.datamodules.shards.tally import ReadResult
from lasagna.errors import RecordError

LabelEncoder = Callable[[Path], bytes]
"""Takes the path of a label file and returns a PNG of one channel with the manifest's label values."""


@dataclass(frozen=True)
class LabelledImages:
    """Reads an image with its label file.

    Args:
        manifest: What holds for the records.
        encode_labels: How label files become label maps.
    """

    manifest: Manifest
    encode_labels: LabelEncoder

    def __call__(self, pair: Pair) -> ReadResult:
        """Read one pair; the image's bytes stay as they are, but are decoded to be sure that they can be.

        Raises:
            RecordError: If image or label map is broken, has unknown values, or the two differ in size.
        """
        image_bytes, size = read_image_file(pair.image)
        record = Record(pair.key, image_bytes, size, self.manifest, label_bytes=self.encode_labels(pair.label))
        _check_labels(record, pair)
        return ReadResult(record)


def labelled_split(
    manifest: Manifest, pairs: Sequence[Pair], encode_labels: LabelEncoder, notes: Sequence[str] = ()
) -> Split:
    """Return a split of images with label files.

    Args:
        manifest: What holds for its records.
        pairs: Its images with their label files, in the order to write.
        encode_labels: How its label files become label maps.
        notes: What one should know of it.
    """
    files = [path for pair in pairs for path in (pair.image, pair.label)]
    return Split(manifest, pairs, LabelledImages(manifest, encode_labels), files, notes)


def _check_labels(record: Record, pair: Pair) -> None:
    try:
        _ = record.label_map
    except RecordError as error:
        raise RecordError(f"{pair.label}: {error}") from error


Colour = tuple[int, int, int]


class ColourLabels:
    """Turns label files of colours into label maps.

    Args:
        values: Label value of each colour (red, green, blue).
    """

    def __init__(self, values: Mapping[Colour, int]) -> None:
        codes = np.array([_code(np.array(colour)) for colour in values])
        order = np.argsort(codes)
        self.codes = codes[order]
        self.values = np.array(list(values.values()), dtype=np.uint8)[order]

    def __call__(self, path: Path) -> bytes:
        """Return the label map of a label file as PNG of one channel.

        Raises:
            RecordError: If the file cannot be decoded or has a colour that is nobody's.
        """
        codes = _code(read_label_file(path, "RGB"))
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        unknown = self.codes[place] != codes
        if unknown.any():
            raise RecordError(f"{path}: {_describe(codes[unknown])}; repair the file or take it away with its image")
        return png_of(self.values[place])


def _code(pixels: NDArray[np.integer]) -> NDArray[np.int64]:
    wide = pixels.astype(np.int64)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _describe(codes: NDArray[np.int64]) -> str:
    colours, counts = np.unique(codes, return_counts=True)
    shown = [
        f"({code >> 16}, {code >> 8 & 255}, {code & 255}) on {count} pixels"
        for code, count in sorted(zip(colours.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])
    ]
    return f"{len(shown)} colours that belong to no class, e.g. {', '.join(shown[:MOST_LISTED])}"
