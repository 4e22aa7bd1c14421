"""GPUs for runs at the same time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

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


def device_shares(devices: Sequence[str], jobs: int) -> list[str | None]:
    """Divide GPUs among runs at the same time.

    Args:
        devices: Names of the GPUs.
        jobs: Number of runs at the same time.

    Returns:
        For each run the GPUs that it sees, as ``CUDA_VISIBLE_DEVICES`` takes them: parts of nearly equal size, or one
        GPU for several runs where there are fewer GPUs than runs. None leaves the environment as it is.
    """
    if jobs == 1 or len(devices) < 2:
        return [None] * jobs
    return [",".join(devices[rank::jobs]) or devices[rank % len(devices)] for rank in range(jobs)]
