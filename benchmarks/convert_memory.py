"""Peak memory of conversions and inspections, by the number of records.

``python benchmarks/convert_memory.py`` makes small images with annotations in the form of ``folder`` and of COCO, once
for each of ``--records``, converts and inspects them in processes of their own, and prints the largest resident set of
any process. Memory that does not grow with the records is about the same for all numbers. ``--results`` files the
numbers as ``docs/results/convert_memory.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "convert_memory.json"
SIDE, CORNERS, OBJECTS, NAMES = 32, 12, 3, 40
"""Pixels of an image's side, corners of a polygon, objects on an image, and categories."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    if options.make:
        FORMS[options.forms[0]](options.folder, options.records[0])
        return
    found: dict[str, dict[str, dict[str, float]]] = {}
    for form in options.forms:
        for records in options.records:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                root = Path(folder)
                # in another process, since the largest set of a new process begins with that of its parent
                words = ["--make", "--forms", form, "--records", str(records), "--folder", str(root / "source")]
                subprocess.run([sys.executable, __file__, *words], check=True)
                found.setdefault(form, {})[str(records)] = measure(form, root, options.processes)
            numbers = found[form][str(records)]
            print(f"{form:15s} {records:8d} records: ", ", ".join(f"{k} {v}" for k, v in numbers.items()), flush=True)
    if options.results:
        from lasagna.tasks.callbacks.run_facts import versions, write_json

        write_json(RESULTS, {"cores": os.cpu_count(), "versions": versions(), "peak": found})


def measure(form: str, root: Path, processes: int) -> dict[str, float]:
    """Convert and inspect a set.

    Args:
        form: Name of the converter.
        root: The folder of its source.
        processes: Number of processes that read.

    Returns:
        Peak memory of both commands in MB.
    """
    shared = [f"--processes={processes}"]
    commands = {
        "convert": [form, "--source", str(root / "source"), "--target", str(root / "shards"), *shared],
        "inspect": [str(root / "shards"), "--out", str(root / "report"), *shared],
    }
    commands["convert"] += ["--annotations", str(root / "source" / "all.json")] if form == "coco_instances" else []
    numbers = {}
    for name, words in commands.items():
        with subprocess.Popen([sys.executable, "-m", "lasagna", name, *words], stdout=subprocess.DEVNULL) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, f"{name} failed"
        numbers[f"{name}_mb"] = round(usage.ru_maxrss / 1024, 1)
    return numbers


def make_folder(root: Path, records: int) -> None:
    """Write images with a line of JSON each.

    Args:
        root: Where they go.
        records: Number of images.
    """
    _images(root, records)
    with (root / "annotations.jsonl").open("w") as file:
        for name, parts in _annotated(records):
            categories = [{"name": f"thing {number}", "masks": [[polygon]]} for number, polygon in parts.items()]
            file.write(json.dumps({"image": name, "categories": categories}) + "\n")


def make_coco(root: Path, records: int) -> None:
    """Write images with one annotation file in COCO's form.

    Args:
        root: Where they go.
        records: Number of images.
    """
    _images(root, records)
    images = [{"id": n, "file_name": _name(n), "height": SIDE, "width": SIDE} for n in range(records)]
    annotations = [
        {"id": number, "image_id": rank, "category_id": kind + 1, "segmentation": [polygon], "iscrowd": 0}
        for rank, (_, parts) in enumerate(_annotated(records))
        for number, (kind, polygon) in enumerate(parts.items(), start=rank * OBJECTS)
    ]
    categories = [{"id": number + 1, "name": f"thing {number}"} for number in range(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "all.json").write_text(json.dumps(content))


FORMS: dict[str, Callable[[Path, int], None]] = {"folder": make_folder, "coco_instances": make_coco}


def _name(number: int) -> str:
    return f"images/{number // 1000:04d}/{number:07d}.png"


def _annotated(records: int) -> Iterator[tuple[str, dict[int, list[float]]]]:
    rng = np.random.default_rng(0)
    for number in range(records):
        kinds = rng.choice(NAMES, OBJECTS, replace=False).tolist()
        corners = rng.uniform(0, SIDE, (OBJECTS, 2 * CORNERS)).round(1).tolist()
        yield _name(number), dict(zip(kinds, corners, strict=True))


def _images(root: Path, records: int) -> None:
    for number in range(records):
        file, buffer = root / _name(number), BytesIO()
        if number % 1000 == 0:
            file.parent.mkdir(parents=True)
        Image.new("RGB", (SIDE, SIDE), (number & 255, number >> 8 & 255, number >> 16)).save(buffer, "PNG")
        file.write_bytes(buffer.getvalue())


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the made sets go meanwhile; by default the usual one")
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
