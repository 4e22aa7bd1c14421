"""Images that shards cannot hold as they are, or of which a part is seen, become PNG files of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

from PIL import Image

from lasagna.core.image_files import BROKEN_IMAGE, decode_image
from lasagna.core.images import Channels, Window, is_deep
from lasagna.core.tiff import is_tiff
from lasagna.datamodules.converters.common.base import Split
from lasagna.datamodules.converters.common.files import png_of_pixels
from lasagna.datamodules.shards.tally import ReadResult


@dataclass(frozen=True)
class ReadImages:
    """Reads items and stores their images so that shards hold what is seen.

    TIFF files become PNG files, and so do images of which a window of values or some channels are seen. All others keep
    their bytes.

    Args:
        read: Reads an item.
        window: Values of images of more than 8 bits that become black and white; None for those of all 16 bits.
        channels: Channels that become red, green and blue, or the one that becomes grey; None for those of images of
            one or three channels.
    """

    read: Callable[[Any], ReadResult]
    window: Window | None = None
    channels: Channels | None = None

    def __call__(self, item: Any) -> ReadResult:  # noqa: ANN401
        """Read an item.

        Raises:
            RecordError: If one of its files is broken, or its image has no such channel or no known range of values.
        """
        result = self.read(item)
        if result.record is None:
            return result
        record = result.record
        image = self._stored(record.image_bytes, record.key)
        others = tuple(self._stored(other, f"{record.key}, others[{rank}]") for rank, other in enumerate(record.others))
        return replace(result, record=replace(record, image_bytes=image, others=others))

    def _stored(self, data: bytes, key: str) -> bytes:
        if not is_tiff(data) and self.channels is None and not _is_deep(data):
            return data
        # also where the bytes stay, since values may be out of range, and a window be missing
        pixels = decode_image(data, key, window=self.window, channels=self.channels)
        return png_of_pixels(pixels) if is_tiff(data) or self.channels or self.window else data


def _is_deep(data: bytes) -> bool:
    try:
        with Image.open(BytesIO(data)) as image:
            return is_deep(image)
    except BROKEN_IMAGE:
        return False  # a converter that does not decode images leaves that to the reader


def with_images(split: Split, window: Window | None, channels: Channels | None) -> Split:
    """Return a split whose images are stored as ``ReadImages`` does."""
    return replace(split, read=ReadImages(split.read, window, channels))
