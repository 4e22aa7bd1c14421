"""Images a second of ``lasagna predict`` over a folder, beside a loop that reads, answers and writes in turn.

``python benchmarks/predict.py`` asks the small assistant of the package for 10, 80 and 150 names in the same images of
640 x 480 pixels, a scene with noise. The ways take turns. *Loop* is what the command did at first: it reads, answers
and writes one image after the other, draws each text anew and compresses drawings with the usual effort. The answers
of both are compared: decisions, scores, and masks pixel by pixel. ``--results`` files the numbers as
``docs/results/predict.json``. Measure on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image, ImageDraw

import lasagna
from lasagna.cli import answered_images, prediction_files
from lasagna.core.batch import Query
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.modules import Assistant
from lasagna.tasks.callbacks.run_facts import versions, write_json
from lasagna.tasks.visualization import legend

DOCS = Path(__file__).resolve().parents[1] / "docs"
SEEN = ("sky", "sun", "house", "dog", "oak", "bird", "kite", "cat", "boat", "mushroom")
COUNTS = (10, 80, 150)


def loop(assistant: Assistant, images: Sequence[Sequence[Path]], queries: Sequence[Query], out: Path) -> None:
    """Read, answer and write one image after the other."""
    with (
        patch.object(prediction_files, "_PNG", {}),
        patch.object(legend, "text_width", legend.text_width.__wrapped__),
        patch.object(legend, "write", _write),
    ):
        for paths in images:
            image = answered_images._read(paths, None, None, -1)
            encoded, geometry = assistant.encode_image(image.shown[0])
            answers = assistant.answer_batch(encoded, [geometry], queries)
            files = (out, paths[0].stem, [paths[0], *paths])
            prediction_files.write_answers(*files, image.shown[0], queries, answers, image.place)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, ink: tuple[int, int, int]) -> None:
    draw.text(place, text, fill=ink, font=legend.font(size), anchor="lm")


def command(assistant: Assistant, images: Sequence[Sequence[Path]], queries: Sequence[Query], out: Path) -> None:
    """Answer as the command does."""
    answered_images.answer_images(assistant, images, queries, out, "ordered")


def measure(folder: Path, count: int, repeats: int) -> dict[str, Any]:
    """Return images a second of both ways at each number of names."""
    images = [[path] for path in write_images(folder / "images", count)]
    assistant, found = lasagna.load(), {}
    for names in COUNTS:
        others = (f"{name} {number}" for number in range(20) for name in SEEN)
        asked = (*SEEN, *others)[:names]
        queries = [Query(0, CATEGORY_LIST, asked)]
        ways = (loop, command)
        runs = [
            {way.__name__: seconds(way, assistant, images, queries, folder) for way in ways} for _ in range(repeats)
        ]
        wall, cpu = ({way: min(run[way][part] for run in runs) for way in WAYS} for part in (0, 1))
        rates = {way: count / wall[way] for way in wall}
        rates |= {f"{way}_cpu_ms": 1e3 * cpu[way] / count for way in cpu} | {"cpu_ratio": cpu["loop"] / cpu["command"]}
        found[str(names)] = rates | {"ratio": rates["command"] / rates["loop"]} | compared(folder)
    return found


def seconds(
    way: Callable[..., None],
    assistant: Assistant,
    images: Sequence[Sequence[Path]],
    queries: Sequence[Query],
    folder: Path,
) -> tuple[float, float]:
    """Return the seconds that a way takes, and those of processor time, which other programs disturb least."""
    wall, cpu = time.perf_counter(), time.process_time()
    way(assistant, images, queries, folder / way.__name__)
    return time.perf_counter() - wall, time.process_time() - cpu


def compared(folder: Path) -> dict[str, Any]:
    """Return how the answers of both ways differ: decisions, the largest difference of scores, and pixels of masks."""
    one, other = (
        [
            entry
            for path in sorted((folder / way).glob("*.json"))
            for entry in json.loads(path.read_text())["answers"][0]["entries"]
        ]
        for way in WAYS
    )
    pairs = list(zip(one, other, strict=True))
    masks = [
        [RLEMask.from_json(each["mask"], (480, 640)).decode() for each in pair]
        for pair in pairs
        if pair[0]["mask"] and pair[1]["mask"]
    ]
    return {
        "decisions": len(pairs),
        "other_decisions": sum(mine["present"] != yours["present"] for mine, yours in pairs),
        "score_difference": max(abs(mine["score"] - yours["score"]) for mine, yours in pairs),
        "masks": len(masks),
        "other_pixels": int(sum((mine != yours).sum() for mine, yours in masks)),
        "same_drawings": all(
            np.array_equal(*(np.asarray(Image.open(folder / way / path.name)) for way in WAYS))
            for path in (folder / WAYS[0]).glob("*.png")
        ),
    }


WAYS = ("loop", "command")


def write_images(folder: Path, count: int) -> list[Path]:
    """Write photographs of noise around a scene."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    scene = np.asarray(Image.open(DOCS / "images" / "scene.png").convert("RGB").resize((640, 480)), dtype=np.int16)
    for number in range(count):
        pixels = (scene + rng.integers(-8, 8, scene.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg", quality=90)
    return sorted(folder.iterdir())


def main() -> None:
    """Measure, print and perhaps file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", action="store_true", help="file the numbers under docs/results")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        found = measure(Path(folder), arguments.images, arguments.repeats)
    for names, row in found.items():
        print(f"{names} names: {row}")
    if arguments.results:
        facts = {"cores": os.cpu_count(), "threads": arguments.threads, "images": arguments.images, "load_before": load}
        write_json(DOCS / "results" / "predict.json", {**facts, "names": found, "versions": versions()})


if __name__ == "__main__":
    main()
