"""Time and memory of answering large pictures tile by tile, with the small assistant of the package.

``python benchmarks/large_pictures.py`` draws pictures as mosaics of scenes, asks for ten names in each in a process of
its own, and prints the seconds and the most memory that each process held.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np

import lasagna
from lasagna.core.tiles import Tiles
from lasagna.datamodules.scenes import draw_scene

NAMES = ("sun", "house", "tree", "sea", "dog", "boat", "ball", "grass", "sky", "road")
SCENE = 500
"""Side of a scene in the mosaic, in pixels."""

ROWS = ((2000, 512, 64), (5000, 512, 64), (10_000, 1024, 128), (10_000, 512, 64), (10_000, 256, 32))
"""Side of the picture, side of the tiles and overlap."""


HEAD = (
    "side",
    "tile",
    "tiles",
    "names present",
    "seconds",
    "of the processor",
    "ms of it a tile",
    "MB with picture and assistant",
    "MB at most",
)


def mosaic(side: int) -> np.ndarray:
    """Return a picture of different scenes, uint8 ``[side, side, 3]``."""
    picture, rng = np.empty((side, side, 3), np.uint8), np.random.default_rng(0)
    scenes = [draw_scene(rng).image for _ in range(20)]
    count = side // SCENE
    for row in range(count):
        for column in range(count):
            scene = scenes[rng.integers(len(scenes))]
            places = np.arange(SCENE) * len(scene) // SCENE
            picture[row * SCENE : (row + 1) * SCENE, column * SCENE : (column + 1) * SCENE] = scene[places][:, places]
    return picture


def measure(side: int, size: int, overlap: int) -> None:
    """Answer one picture and print a row."""
    picture, assistant = mosaic(side), lasagna.load()
    assistant.answer(picture[:SCENE, :SCENE], NAMES)
    before = _peak()
    start, used = time.perf_counter(), time.process_time()
    answer = assistant.answer(picture, NAMES, tiles=Tiles(size, overlap))
    seconds, used = time.perf_counter() - start, time.process_time() - used
    present, tiles = sum(entry.present for entry in answer.entries), len(answer.tiles)
    cells = [side, size, tiles, present, round(seconds), round(used), round(1000 * used / tiles), before, _peak()]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _peak() -> int:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure each row in a process of its own."""
    if len(sys.argv) > 1:
        measure(*map(int, sys.argv[1:]))
        return
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}", flush=True)
    for row in ROWS:
        subprocess.run([sys.executable, __file__, *map(str, row)], check=True)


if __name__ == "__main__":
    main()
