"""Files the reports of sweeps under docs/results, and rewrites the pages.

``python docs/file_sweep.py instances_ways runs/instances_ways`` copies ``report.csv`` and ``report.md`` of the sweep's
folder to ``docs/results/instances_ways.csv`` and ``instances_ways_report.md``, and ``scores.json`` of its first run to
``instances_ways.json``. Several pairs of a name and a folder may follow one another. Then it rewrites the pages, as
``python docs/results.py`` does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def file(name: str, folder: Path, results: Path = RESULTS) -> None:
    """File the report of one sweep.

    Args:
        name: Name of the result.
        folder: The sweep's folder.
        results: Where results are filed.

    Raises:
        FileNotFoundError: If the folder has no report or no finished run.
    """
    runs = sorted(folder.glob("*/seed_*/scores.json"))
    if not runs:
        raise FileNotFoundError(f"{folder}: it has no finished run; start `lasagna sweep` with `--out {folder}` first")
    results.mkdir(parents=True, exist_ok=True)
    for source, target in (("report.csv", f"{name}.csv"), ("report.md", f"{name}_report.md")):
        (results / target).write_text((folder / source).read_text(encoding="utf-8"), encoding="utf-8")
    content = json.loads(runs[0].read_text(encoding="utf-8"))
    (results / f"{name}.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    pairs = sys.argv[1:]
    if not pairs or len(pairs) % 2:
        raise SystemExit(f"usage: {sys.argv[0]} NAME SWEEP_FOLDER ...")
    for name, folder in zip(pairs[::2], pairs[1::2], strict=True):
        file(name, Path(folder))
        print(f"filed {name}")
    import results

    results.main()
