"""A large picture in the layout of iSAID, and a GeoTIFF of five channels, for the pages that name them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lasagna.datamodules.converters.isaid import CLASSES, LABEL, OBJECTS

TAGS = (
    (33550, 12, 3, (2.0, 2.0, 0.0), True),
    (33922, 12, 6, (0.0, 0.0, 0.0, 1000.0, 5000.0, 0.0), True),
    (34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True),
)
"""A map in EPSG:32633 with two metres a pixel, as tags for tifffile."""


def write_isaid(folder, side=640):
    """Write a picture for train and val, with some objects."""
    for split, key in (("train", "P0002"), ("val", "P0003")):
        rng = np.random.default_rng(len(split))
        labels, numbers = np.zeros((side, side, 3), np.uint8), np.zeros((side, side, 3), np.uint8)
        for rank in range(1, 21):
            top, left = rng.integers(0, side - 60, 2)
            place = slice(top, top + 50), slice(left, left + 30)
            labels[place], numbers[place] = list(CLASSES.values())[rank % 3], (rank, 0, 0)
        picture = np.clip(labels.astype(int) + rng.integers(0, 60, labels.shape), 0, 255)
        for ending, pixels in (("", picture), (LABEL, labels), (OBJECTS, numbers)):
            file = folder / split / "images" / f"{key}{ending}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file)


def write_geotiff(file, side=600):
    """Write a GeoTIFF of five channels of 16 bits."""
    import tifffile

    bands = np.random.default_rng(0).integers(0, 3000, (side, side, 5), dtype=np.uint16)
    tifffile.imwrite(file, bands, planarconfig="contig", photometric="minisblack", extratags=TAGS)
