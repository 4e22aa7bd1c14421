"""Label files that mark classes by colour."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lasagna.datamodules.converters.files import MOST_LISTED, png_of, read_label_file
from lasagna.errors import RecordError

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
