"""Records made by hand for the tests of tasks."""

from io import BytesIO

import numpy as np
from PIL import Image

from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record

SIZE = (2, 4)


def png(pixels):
    """An array as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def mask(*rows):
    """A mask from rows of "#" and "."."""
    return RLEMask.from_array(np.array([[letter == "#" for letter in row] for row in rows]))


def manifest(**changes):
    """A data set of four categories with one void value."""
    values = {
        "name": "made",
        "categories": ("sky", "sea", "dog", "cat"),
        "labels": {1: "sky", 2: "sea", 3: "dog", 4: "cat"},
        "void": (255,),
    }
    return Manifest(**(values | changes))


def record(labels=None, about=None, **parts):
    """A record over a black image, with a label map if given."""
    label_bytes = None if labels is None else png(labels)
    return Record("one", png(np.zeros((*SIZE, 3))), SIZE, about or manifest(), label_bytes=label_bytes, **parts)
