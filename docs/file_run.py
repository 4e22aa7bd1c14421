"""Runs a command, and files its scores and how long the whole of it took under docs/results.

``python docs/file_run.py default runs/default python train.py`` runs ``python train.py`` and writes
``docs/results/default.json`` from ``runs/default/scores.json``; ``python docs/results.py`` puts it into the pages.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def main(name: str, folder: str, *command: str) -> None:
    """Run a command and file what came out.

    Args:
        name: Name of the result.
        folder: The run's folder, where the command leaves ``scores.json``.
        command: The command and its arguments.

    Raises:
        CalledProcessError: If the command fails.
    """
    began = time.monotonic()
    subprocess.run(command, check=True)
    seconds = round(time.monotonic() - began, 1)
    content = json.loads((Path(folder) / "scores.json").read_text(encoding="utf-8"))
    content["command"] = {"line": " ".join(command), "seconds": seconds}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"filed {name}: {seconds} seconds")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise SystemExit(f"usage: {sys.argv[0]} NAME RUN_FOLDER COMMAND ...")
    main(*sys.argv[1:])
