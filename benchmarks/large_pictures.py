"""Time and memory of answering large pictures tile by tile, with the small assistant of the package.

``python benchmarks/large_pictures.py`` draws pictures as mosaics of scenes, asks for ten names in each in a process of
its own, and prints the seconds and the most memory that each process held. ``python benchmarks/large_pictures.py
scores`` asks for the names of 16 scenes in a mosaic of them, as a whole and in tiles, and prints the mean IoU.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from tempfile import TemporaryDirectory

import numpy as np

import lasagna
from lasagna.core.tiles import Tiles
from lasagna.datamodules import SceneWriter, Source
from lasagna.datamodules.protocols import read_records
from lasagna.datamodules.scenes import draw_scene
from lasagna.datamodules.shards.codec import decode_record
from lasagna.tasks import Semantic

NAMES = ("sun", "house", "tree", "sea", "dog", "boat", "ball", "grass", "sky", "road")
SCENE = 500
"""Side of a scene in the mosaic, in pixels."""

SCALE = 4
"""How many times larger scenes are in the mosaic that is scored."""

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


def scores() -> None:
    """Print the mean IoU of a mosaic of four by four scenes."""
    with TemporaryDirectory() as folder:
        SceneWriter(folder, train=1, val=16, test=1, size=96, processes=1).prepare()
        source = Source(shards=f"{folder}/val", task=Semantic())
        records = [decode_record(raw, source.manifest) for raw in read_records(source)]
    names, squares = source.manifest.categories, np.ones((SCALE, SCALE), np.uint8)
    rows = [records[first : first + 4] for first in range(0, 16, 4)]
    picture = np.concatenate([np.concatenate([record.image() for record in row], 1) for row in rows])
    picture = np.kron(picture, squares[..., None])
    assistant = lasagna.load()
    for tiles in (None, Tiles(96 * SCALE, 0), Tiles(96 * SCALE, 24 * SCALE), Tiles(128 * SCALE, 16 * SCALE)):
        answer, ious = assistant.answer(picture, names, tiles=tiles), []
        for entry in answer.entries:
            masks = [[record.category_masks().get(entry.name) for record in row] for row in rows]
            none = np.zeros((96, 96), bool)
            parts = [np.concatenate([none if mask is None else mask.decode() for mask in row], 1) for row in masks]
            truth = np.kron(np.concatenate(parts), squares).astype(bool)
            found = np.zeros_like(truth) if entry.mask is None else entry.mask
            if truth.any():
                ious.append((found & truth).sum() / (found | truth).sum())
        print(f"{tiles or 'as a whole'}: mean IoU {np.mean(ious):.3f} of {len(ious)} names", flush=True)


def _peak() -> int:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure each row in a process of its own."""
    if sys.argv[1:] == ["scores"]:
        scores()
        return
    if len(sys.argv) > 1:
        measure(*map(int, sys.argv[1:]))
        return
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}", flush=True)
    for row in ROWS:
        subprocess.run([sys.executable, __file__, *map(str, row)], check=True)


if __name__ == "__main__":
    main()
