"""Where commands compute: a device by its name, or the accelerator of the machine."""

from __future__ import annotations

import torch

from lasagna.errors import LasagnaError


def find_device(device: str) -> torch.device:
    """Return a device by its name; "auto" stands for an accelerator if there is one, else the CPU.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", ...

    Raises:
        LasagnaError: If the device cannot be used.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if device.partition(":")[0] == "meta":
        raise LasagnaError(f"device: {device!r} holds no values, so that nothing can be computed on it; try cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise LasagnaError(f"device: {device!r} cannot be used ({str(error).splitlines()[0]}); try cpu") from error


def device_of_process(device: str, rank: int) -> str:
    """Return the GPU that one of several processes on a machine uses; without GPUs, the device as it was given.

    Args:
        device: "auto" or "cuda" for a GPU of its own; other names are returned unchanged.
        rank: Rank of the process on its machine.
    """
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    return f"cuda:{rank % count}" if count else device
