"""The device that a command computes on."""

from __future__ import annotations

import torch

from lasagna.errors import LasagnaError


def choose_device(device: str) -> torch.device:
    """Return a device by its name.

    Args:
        device: "cpu", "cuda", ...; "auto" for an accelerator if there is one.

    Raises:
        LasagnaError: If it cannot be used.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise LasagnaError(f"device: {device!r} cannot be used ({str(error).splitlines()[0]}); try cpu") from error
