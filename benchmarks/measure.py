"""Wall time and peak memory of a call."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Cost:
    """What a call costs.

    Args:
        seconds: Median wall time.
        shortest: Shortest wall time, which other programs affect least.
        added_mib: Peak memory of the process (or of the GPU) during the calls, minus the memory in use before.
    """

    seconds: float
    shortest: float
    added_mib: float


def cost(call: Callable[[], object], runs: int, device: torch.device) -> Cost:
    """Measure a call, after one that warms up.

    Args:
        call: The call to measure.
        runs: How often to call it.
        device: The device that it computes on.
    """
    before = in_use(device)
    call()
    reset(device)
    times = []
    for _ in range(runs):
        _wait(device)
        began = time.perf_counter()
        call()
        _wait(device)
        times.append(time.perf_counter() - began)
    return Cost(statistics.median(times), min(times), peak(device) - before)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset(device: torch.device) -> None:
    """Start the peak anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (marks := Path("/proc/self/clear_refs")).exists():
        marks.write_text("5")  # Linux then starts the high-water mark anew


def in_use(device: torch.device) -> float:
    """Return the memory in use, in MiB."""
    return torch.cuda.memory_allocated(device) / 2**20 if device.type == "cuda" else _status("VmRSS")


def peak(device: torch.device) -> float:
    """Return the most memory in use since ``reset``, in MiB."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else _status("VmHWM")


def _status(field: str) -> float:
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return float(found[1]) / 1024 if found else float("nan")
