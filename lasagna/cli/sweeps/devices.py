"""GPUs for runs at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from lasagna.core.locks import BusyError, locked_file

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them.

    Args:
        environment: The environment variables.
    """
    if VISIBLE in environment:
        return [name.strip() for name in environment[VISIBLE].split(",") if name.strip()]
    import torch

    return [str(rank) for rank in range(torch.cuda.device_count())]


@contextmanager
def command_number(out: Path) -> Iterator[int]:
    """Number the commands that share a sweep; each has the lowest number that is free until the block ends.

    Args:
        out: Folder of the sweep; it must exist.

    Yields:
        The number, from 0; where file systems have no locks, always 0.
    """
    with ExitStack() as stack:
        for number in count():
            try:
                stack.enter_context(locked_file(out / f"command_{number}.lock", "another command has this number"))
            except BusyError:
                continue
            break
        yield number


def device_shares(devices: Sequence[str], jobs: int, command: int = 0) -> list[str | None]:
    """Divide GPUs among runs at the same time.

    Each command that shares a sweep begins with other GPUs, and sees the others behind them, so that runs on one GPU
    are apart, and runs on several still find them.

    Args:
        devices: Names of the GPUs.
        jobs: Number of runs at the same time of this command.
        command: Number of the command among those that share the sweep.

    Returns:
        For each run the GPUs that it sees, as ``CUDA_VISIBLE_DEVICES`` takes them: parts of nearly equal size, or one
        GPU for several runs where there are fewer GPUs than runs. None leaves the environment as it is.
    """
    if len(devices) < 2 or (jobs == 1 and command == 0):
        return [None] * jobs
    first = command * jobs % len(devices)
    devices = [*devices[first:], *devices[:first]]
    return [",".join(devices[rank::jobs]) or devices[rank % len(devices)] for rank in range(jobs)]
