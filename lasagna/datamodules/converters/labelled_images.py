"""Reading pairs of image and label file as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lasagna.core.record import Manifest, Record
from lasagna.datamodules.converters.base import Split
from lasagna.datamodules.converters.files import Pair, read_image_file
from lasagna.datamodules.reading import Reading
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

    def __call__(self, pair: Pair) -> Reading:
        """Read one pair; the image's bytes stay as they are, but are decoded to be sure that they can be.

        Raises:
            RecordError: If image or label map is broken, has unknown values, or the two differ in size.
        """
        image_bytes, size = read_image_file(pair.image)
        record = Record(pair.key, image_bytes, size, self.manifest, label_bytes=self.encode_labels(pair.label))
        _check_labels(record, pair)
        return Reading(record)


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
    except RecordError as fault:
        raise RecordError(f"{pair.label}: {fault}") from fault
