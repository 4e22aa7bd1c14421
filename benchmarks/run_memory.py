"""Peak memory of a run of ``train.py``, measured on its process.

``python benchmarks/run_memory.py fit --config configs/experiments/pretrained_small.yaml --trainer.max_steps 8`` runs
``train.py`` with these arguments and prints the peak of its resident memory and its wall time. If workers load the
data, the peak is that of the largest process, which is the one that trains.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

TRAIN = Path(__file__).parent.parent / "train.py"


def main() -> None:
    """Run, measure and print."""
    began = time.perf_counter()
    subprocess.run([sys.executable, str(TRAIN), *sys.argv[1:]], check=True)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    held = peak * (1 if sys.platform == "darwin" else 1024) / 1e9  # bytes on macOS, kibibytes elsewhere
    print(f"{' '.join(sys.argv[1:])}: peak memory {held:.1f} GB, {seconds:.0f} seconds")


if __name__ == "__main__":
    main()
