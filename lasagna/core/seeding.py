"""Random numbers as a function of a seed and a key: generators for data, and a context for PyTorch's own draws.

Neither touches the global generators, so that no draw depends on what was drawn before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from lasagna.errors import ConfigError

if TYPE_CHECKING:
    import torch


@contextmanager
def seeded(seed: int, key: str, device: torch.device | None = None) -> Iterator[None]:
    """Seed PyTorch's random numbers (dropout, fresh weights) from a seed and a key, and restore them afterwards.

    Args:
        seed: Seed of the run.
        key: What the numbers are drawn for, e.g. a training step.
        device: An accelerator whose generator is seeded and restored as well.
    """
    import torch  # here, so that what only reads and writes records starts without it

    number = int.from_bytes(blake2b(f"{seed}/{key}".encode(), digest_size=7).digest(), "little")
    accelerated = device is not None and device.type != "cpu"
    devices = [device] if accelerated else []
    with torch.random.fork_rng(devices, device_type=device.type if device is not None and accelerated else "cuda"):
        torch.manual_seed(number)
        yield


def generator(seed: int, epoch: int, key: str) -> np.random.Generator:
    """Return the generator that belongs to a seed, an epoch and a key.

    Args:
        seed: Seed of the run.
        epoch: Number of the pass over the data.
        key: What the numbers are drawn for, e.g. a record key or the name of a source.

    Returns:
        A generator whose draws are independent of the worker, the process and all earlier draws.
    """
    digest = blake2b(f"{seed}/{epoch}/{key}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


LARGEST = 2**32 - 1
"""The largest seed of the global generators, that of NumPy."""


def check_seed(seed: int | None) -> None:
    """Check the seed of the global generators; other seeds can be any whole number.

    Args:
        seed: The seed; True and None stand for a random one, False for none.

    Raises:
        ConfigError: If it is out of range.
    """
    if seed is not None and not 0 <= seed <= LARGEST:
        raise ConfigError(f"seed_everything: expected a whole number from 0 to {LARGEST}, got {seed}")
