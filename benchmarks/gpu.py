"""Measure one part of what a lent GPU is to show, and file it; ``benchmarks/gpu.sh`` runs all parts.

``python benchmarks/gpu.py step --out docs/results/gpu.json`` measures a part and puts it into the JSON in the place of
an earlier one; ``--failed CODE`` notes instead that it failed. ``--tiny`` measures tiny sizes on the CPU. This file
imports nothing heavy, so that a note takes no time; ``gpu_parts.py`` measures.
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import Any

PARTS = {
    "step": "training step, and answer of 150 names",
    "compiled": "the same step, compiled",
    "lists": "SAM 3 name by name beside the assistant",
    "fsdp2": "FSDP2 of one process beside one device",
    "masks": "masks in bfloat16 beside float32",
}
LATE = 124
"""What ``timeout`` ends with when a command takes too long."""


def main(argv: list[str] | None = None) -> None:
    """Measure or note, print and file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--failed", type=int, help="note that the part failed, with this exit code")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument(
        "--peak", type=float, default=989.0, help="TFLOPS of the GPU in bfloat16; an H100 or H200 has 989"
    )
    options = parser.parse_args(argv)
    content: dict[str, Any] = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {"rows": []}
    if options.failed is None:
        measured = import_module("gpu_parts")
        facts, found = measured.facts(options.tiny), getattr(measured, options.part)(options.tiny, options.peak)
    else:
        facts = {}
        reason = "took too long" if options.failed == LATE else f"failed with exit code {options.failed}"
        found = {"found": reason}
    row = {"part": options.part, "what": PARTS[options.part], **found}
    rows = {one["part"]: one for one in [*content["rows"], row]}
    content |= facts | {"rows": [rows[name] for name in PARTS if name in rows]}
    options.out.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
