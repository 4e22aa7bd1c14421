"""Images a second of conversions, beside a plain tar writer and bare decoding, on one core and on two.

``python benchmarks/convert.py`` makes images of 640 x 480 pixels with instances and with panoptic maps in COCO's form.
In turns it copies the image files into a tar file (``tar``), decodes them and does nothing else (``decode``), and
converts them (``instances``, ``panoptic``). For each number of ``--processes``, what is measured may use that many
cores only. Everything of a conversion counts: its start, the annotation file, and checksums. ``reading_ms`` is the
processor time for an image and its annotations without all of that.

``--results`` files the numbers as ``docs/results/convert.json``. Measure on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "convert.json"
SIZE, OBJECTS, NAMES = (480, 640), 12, 80
"""Height and width in pixels, objects of an image, and categories."""

CONVERTED = {"instances": "coco_instances", "panoptic": "coco_panoptic"}
"""Name of what is measured to the converter."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file; with ``--only``, do one thing in this process."""
    options = _options(argv)
    if options.only:
        ONE[options.only](options.source, options.target, options.processes[0])
        return
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        make_set(source, options.images)
        for processes in options.processes:
            seconds = {name: list[float]() for name in (*ONE, *CONVERTED)}
            for run in range(options.runs):
                for name, times in seconds.items():
                    times.append(_seconds(name, source, Path(folder) / f"{name}-{processes}-{run}", processes))
            rates = {name: options.images / min(times) for name, times in seconds.items()}
            found[f"{processes} cores"] = {
                **{f"{name}_per_second": round(rate, 1) for name, rate in rates.items()},
                **{f"{name}_of_decode": round(rates[name] / rates["decode"], 3) for name in CONVERTED},
                **{f"{name}_of_tar": round(rates[name] / rates["tar"], 4) for name in CONVERTED},
            }
            print(processes, "cores:", found[f"{processes} cores"], flush=True)
        found["reading_ms"] = {name: round(_reading(name, source), 2) for name in CONVERTED}
        print("reading_ms:", found["reading_ms"])
    if options.results:
        from lasagna.tasks.callbacks.run_facts import versions, write_json

        write_json(RESULTS, {"cores": os.cpu_count(), "images": options.images, "versions": versions(), "data": found})


def _seconds(name: str, source: Path, target: Path, processes: int) -> float:
    """Return how long something takes in a process of its own, of which all cores are in use."""
    if name in ONE:
        words = [__file__, "--only", name, "--source", str(source), "--target", str(target), "--processes"]
    else:
        words = ["-m", "lasagna", "convert", CONVERTED[name], "--source", str(source), "--target", str(target)]
        words.append("--processes")
    began = time.perf_counter()
    # one process reads in the main process
    number = 0 if name in CONVERTED and processes == 1 else processes
    subprocess.run(
        [sys.executable, *words, str(number)],
        check=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:processes]),
    )
    return time.perf_counter() - began


def _reading(name: str, source: Path) -> float:
    """Return the milliseconds of processor time to read and encode an image with its annotations, the least of 3."""
    from lasagna.datamodules.converters.catalogue import find_converter
    from lasagna.datamodules.shards.encoding import encode

    split = find_converter(CONVERTED[name])(source).splits()["val"]
    encode(split.reading(0))
    times = []
    for _ in range(3):
        began = time.process_time()
        for index in range(len(split)):
            encode(split.reading(index))
        times.append(time.process_time() - began)
    return 1000 * min(times) / len(split)


def write_tar(source: Path, target: Path, processes: int) -> None:
    """Copy the image files into a tar file.

    Args:
        source: The set.
        target: Where the tar file goes.
        processes: Is ignored; one core is enough.
    """
    with tarfile.open(target, "w") as tar:
        for path in sorted((source / "val2017").iterdir()):
            tar.add(path, path.name)


def decode(source: Path, target: Path, processes: int) -> None:
    """Decode the image files to pixels.

    Args:
        source: The set.
        target: Is ignored.
        processes: Number of processes.
    """
    paths = sorted((source / "val2017").iterdir())
    if processes == 1:
        list(map(_pixels, paths))
    else:
        with Pool(processes) as pool:
            list(pool.imap_unordered(_pixels, paths, chunksize=8))


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return len(np.asarray(image.convert("RGB")))


ONE = {"tar": write_tar, "decode": decode}


def make_set(root: Path, images: int) -> None:
    """Write photographs that are not, their instances as polygons, and their panoptic maps.

    Args:
        root: Where they go.
        images: Number of images.
    """
    rng = np.random.default_rng(0)
    for folder in ("val2017", "annotations/panoptic_val2017"):
        (root / folder).mkdir(parents=True)
    entries, polygons, segments = [], [], []
    for number in range(images):
        name = f"{number:012d}"
        _photograph(rng).save(root / "val2017" / f"{name}.jpg", quality=90)
        numbers = rng.choice(1 << 24, OBJECTS, replace=False) + 1
        rough = Image.fromarray(rng.integers(0, OBJECTS, (4, 5), dtype=np.uint8))
        pixels = numbers[np.asarray(rough.resize(SIZE[::-1], Image.Resampling.BICUBIC)).clip(max=OBJECTS - 1)]
        colours = np.stack([pixels & 255, pixels >> 8 & 255, pixels >> 16], axis=-1).astype(np.uint8)
        Image.fromarray(colours).save(root / "annotations/panoptic_val2017" / f"{name}.png")
        kinds = rng.integers(1, NAMES + 1, OBJECTS).tolist()
        entries.append({"id": number, "file_name": f"{name}.jpg", "height": SIZE[0], "width": SIZE[1]})
        drawn = [{"id": int(one), "category_id": kind} for one, kind in zip(numbers, kinds, strict=True)]
        segments.append({"image_id": number, "file_name": f"{name}.png", "segments_info": drawn})
        polygons += [
            {"id": OBJECTS * number + rank, "image_id": number, "category_id": kind, "segmentation": [_polygon(rng)]}
            for rank, kind in enumerate(kinds)
        ]
    categories = [{"id": rank, "name": f"thing {rank}", "isthing": 1} for rank in range(1, NAMES + 1)]
    for name, parts in (("instances", polygons), ("panoptic", segments)):
        content = {"images": entries, "annotations": parts, "categories": categories}
        (root / "annotations" / f"{name}_val2017.json").write_text(json.dumps(content))


def _photograph(rng: np.random.Generator) -> Image.Image:
    rough = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    smooth = np.asarray(rough.resize(SIZE[::-1], Image.Resampling.BICUBIC)).astype(np.int16)
    return Image.fromarray((smooth + rng.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8))


def _polygon(rng: np.random.Generator) -> list[float]:
    angles = np.sort(rng.uniform(0, 2 * np.pi, 30))
    centre, radius = rng.uniform((0, 0), SIZE[::-1]), rng.uniform(20, 120, 30)
    points = centre + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points.clip((0, 0), SIZE[::-1]).round(2).ravel().tolist()


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--only", choices=list(ONE), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
