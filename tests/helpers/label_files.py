"""Tiny images and label files of data sets with a label file for each image."""

import numpy as np
from PIL import Image

SIZE = (18, 26)


def draw(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)
    return path


def values_of(choices, seed=0):
    return np.random.default_rng(seed).choice(choices, SIZE).astype(np.uint8)


def save(labels, path, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(labels)
    if palette:
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)
