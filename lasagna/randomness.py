"""Randomness as a function of (seed, epoch, key), so that a stream can stop anywhere and go on exactly."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


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
