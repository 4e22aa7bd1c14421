"""What each cell of a scene holds, as numbers: the language model learns to read these before it sees any image.

Notation: i: cells, read row by row; s: symbols, namely the categories, the colours, and "a thing is centred here".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lasagna.datamodules.scenes import CATEGORIES, COLOURS, THINGS, VOID, Scene
from lasagna.tasks.pretrain.scene_pool import NO_COLOUR, colour_map

SYMBOLS = (*CATEGORIES, *COLOURS, "centre")
GRID = 6
FAINT = 0.04
"""Share of a cell under which a category goes unnoticed."""


def symbol_grid(scene: Scene) -> NDArray[np.float16]:
    """Return how strongly each symbol shows in each cell, ``[i, s]``: the square root of its share of the cell."""
    categories = _shares(scene.labels, len(CATEGORIES), VOID)
    colours = _shares(colour_map(scene), len(COLOURS), NO_COLOUR)
    categories[:, -len(THINGS) :] *= 1.5
    return np.concatenate([categories, colours, _centres(scene)], 1).astype(np.float16)


def occupancy(mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    """Return the share of each cell that a mask covers, scaled so that its fullest cell is 1, ``[i]``."""
    shares = _cells(mask.astype(np.float32)).mean(1)
    return np.asarray(shares / max(shares.max(), 1e-6), dtype=np.float16)


def _cells(values: NDArray[np.float32]) -> NDArray[np.float32]:
    side = values.shape[0] // GRID
    cells = values[: side * GRID, : side * GRID].reshape(GRID, side, GRID, side)
    return cells.transpose(0, 2, 1, 3).reshape(GRID * GRID, side * side)


def _shares(values: NDArray[np.integer], count: int, nothing: int) -> NDArray[np.float32]:
    cells = _cells(values.astype(np.float32)).astype(np.int64)
    shares = np.stack([(cells == value).mean(1) for value in range(count)], 1)
    return np.sqrt(np.where(shares >= FAINT, shares, 0)).astype(np.float32)


def _centres(scene: Scene) -> NDArray[np.float32]:
    counts = np.zeros((GRID, GRID), dtype=np.float32)
    for thing in scene.things:
        row, column = (min(int(place * GRID / scene.size), GRID - 1) for place in thing.centre)
        counts[row, column] += 1
    return counts.reshape(-1, 1)
