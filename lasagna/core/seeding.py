"""Torch's noise (dropout, fresh weights) as a function of a seed and a key, without moving the global generators."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b

import numpy as np
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


def generator(seed: int, epoch: int, key: str) -> np.random.Generator:
    """Return the one generator that belongs to a seed, an epoch and a key.

    Args:
        seed: Seed of the run.
        epoch: Number of the pass over the data.
        key: What is drawn for, e.g. a record key or the name of a source.

    Returns:
        A generator whose draws do not depend on worker, process or anything drawn before.
    """
    digest = blake2b(f"{seed}/{epoch}/{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
