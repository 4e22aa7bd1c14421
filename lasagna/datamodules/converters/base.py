"""The contract of converters, and reading pairs of image and label map as records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lasagna.datamodules.converters.files import Pair
from lasagna.errors import RecordError
from lasagna.record import Manifest, Record, decode_image

LabelEncoder = Callable[[Path], bytes]
"""Takes the path of a label file and returns a PNG of one channel with the manifest's label values."""


@dataclass(frozen=True)
class Split:
    """One part of a data set, whose files are read only as they are written.

    Args:
        manifest: What holds for its records.
        pairs: Its images with their label maps, in the order to write.
        encode_labels: How its label files become label maps.
    """

    manifest: Manifest
    pairs: Sequence[Pair]
    encode_labels: LabelEncoder

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self.pairs)

    def records(self) -> Iterator[Record]:
        """Read the records one by one; the image's bytes stay as they are, but are decoded to be sure that they can.

        Raises:
            RecordError: If an image or label map is broken, has unknown values, or the two differ in size.
        """
        for pair in self.pairs:
            image_bytes = pair.image.read_bytes()
            height, width = decode_image(image_bytes, str(pair.image)).shape[:2]
            labels = self.encode_labels(pair.label)
            record = Record(pair.key, image_bytes, (height, width), self.manifest, label_bytes=labels)
            _check_labels(record, pair)
            yield record


class Converter(ABC):
    """Reads a data set as it was released and says what its records are."""

    @abstractmethod
    def splits(self) -> Mapping[str, Split]:
        """Return the parts of the data set by name.

        Raises:
            LayoutError: If the folder is not laid out as expected, or images and label maps do not pair up.
        """


def _check_labels(record: Record, pair: Pair) -> None:
    try:
        _ = record.label_map
    except RecordError as fault:
        raise RecordError(f"{pair.label}: {fault}") from fault
