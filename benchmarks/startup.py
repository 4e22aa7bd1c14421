"""How long each command takes to start, beside ``import torch`` in the same run.

``python benchmarks/startup.py`` runs ``lasagna COMMAND --help`` for every command, as well as help, version, a wrong
command, the first answer of ``lasagna predict``, ``import torch`` and ``import lightning``, each ``--runs`` times in a
process of its own. It prints the shortest processor time, which other programs disturb least, its ratio to that of
``import torch``, and the shortest wall time. ``--results`` files the numbers as ``docs/results/startup.json``.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lasagna.__main__ import COMMANDS

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "startup.json"
TORCH = "import torch"
LIGHTNING = "import lightning"
SCENE = Path(__file__).resolve().parents[1] / "docs" / "images" / "scene.png"
LASAGNA = ("-m", "lasagna")
OUT = str(Path(tempfile.gettempdir()) / "lasagna_first_answer")
STARTS = {
    TORCH: ("-c", TORCH),
    LIGHTNING: ("-c", LIGHTNING),
    "lasagna predict, first answer": (*LASAGNA, "predict", "--image", str(SCENE), "--query", "sky, dog", "--out", OUT),
    "lasagna --help": (*LASAGNA, "--help"),
    "lasagna --version": (*LASAGNA, "--version"),
    "lasagna nonsense": (*LASAGNA, "nonsense"),
    **{f"lasagna {name} --help": (*LASAGNA, name, "--help") for name in COMMANDS},
    "lasagna convert camvid --help": (*LASAGNA, "convert", "camvid", "--help"),
    "lasagna train fit --help": (*LASAGNA, "train", "fit", "--help"),
}
"""Name to the arguments of Python."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    found: dict[str, dict[str, float]] = {}
    for name, words in STARTS.items():
        if name != TORCH and not any(part in name for part in options.only):
            continue
        runs = [measure(words) for _ in range(options.runs)]
        cpu, wall = (min(times) for times in zip(*runs, strict=True))
        found[name] = {"cpu_seconds": round(cpu, 3), "wall_seconds": round(wall, 3)}
        ratio = cpu / found[TORCH]["cpu_seconds"]
        print(f"{name:32s} {cpu:6.2f} s of processor time, {wall:6.2f} s, {ratio:5.2f} times {TORCH}", flush=True)
    if options.results:
        from lasagna.tasks.callbacks.run_facts import versions, write_json

        write_json(RESULTS, {"cores": os.cpu_count(), "versions": versions(), "starts": found})


def measure(words: tuple[str, ...]) -> tuple[float, float]:
    """Run Python once.

    Args:
        words: Its arguments.

    Returns:
        Seconds of processor time and of wall time.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, ended - began


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of those to measure")
    parser.add_argument("--results", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
