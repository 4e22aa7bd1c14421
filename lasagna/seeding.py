"""Torch's noise (dropout, fresh weights) as a function of a seed and a key, without moving the global generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import torch


@contextmanager
def seeded(seed: int, key: str, device: torch.device | None = None) -> Iterator[None]:
    """Draw torch's random numbers from a generator that belongs to a seed and a key.

    Args:
        seed: Seed of the run.
        key: What is drawn for, e.g. a training step.
        device: An accelerator whose generator is set and put back too.
    """
    number = int.from_bytes(blake2b(f"{seed}/{key}".encode(), digest_size=7).digest(), "little")
    accelerated = device is not None and device.type != "cpu"
    devices = [device] if accelerated else []
    with torch.random.fork_rng(devices, device_type=device.type if device is not None and accelerated else "cuda"):
        torch.manual_seed(number)
        yield
