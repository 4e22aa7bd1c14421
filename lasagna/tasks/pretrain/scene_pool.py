"""Scenes in memory, drawn once for all steps of a pretraining stage."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from lasagna.core.seeding import generator
from lasagna.datamodules.scenes import COLOURS, Scene, draw_scene

NO_COLOUR = len(COLOURS)
"""Colour class of pixels without a named colour."""


@dataclass(frozen=True)
class ScenePool:
    """Many scenes as arrays.

    Args:
        scenes: The scenes.
    """

    scenes: list[Scene]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.scenes)

    def images(self, indices: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return images, uint8 ``[b, size, size, 3]``."""
        return np.stack([self.scenes[index].image for index in indices])

    def labels(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return category maps, ``[b, size, size]``, void as 255."""
        return np.stack([self.scenes[index].labels for index in indices]).astype(np.int64)

    def colours(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return maps of the things' named colours, ``[b, size, size]``."""
        return np.stack([colour_map(self.scenes[index]) for index in indices])


def colour_map(scene: Scene) -> NDArray[np.int64]:
    """Return the named colour of each pixel as its index in ``COLOURS``, ``NO_COLOUR`` elsewhere."""
    codes = [NO_COLOUR, *(COLOURS.index(thing.colour) if thing.colour else NO_COLOUR for thing in scene.things)]
    return np.asarray(codes)[scene.instances]


def draw_pool(count: int, seed: int, processes: int = 2) -> ScenePool:
    """Draw scenes on several processes.

    Args:
        count: How many.
        seed: Seed; another one than any evaluation uses.
        processes: How many processes draw.
    """
    with get_context("spawn").Pool(processes) as workers:
        drawn = workers.imap(_draw, ((seed, index) for index in range(count)), chunksize=64)
        return ScenePool(list(track(drawn, description="drawing scenes", total=count)))


def _draw(place: tuple[int, int]) -> Scene:
    seed, index = place
    return draw_scene(generator(seed, 0, f"pretraining/{index}"))
