"""What a checkpoint holds of an assistant: what was trained, how to make the rest, and a fingerprint of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor, nn

from lasagna.errors import CheckpointError

PREFIX = "assistant."
"""Where the assistant's weights live in a checkpoint's state dict."""

ASSISTANT_CONFIG = "assistant_recipe"
"""Key in a checkpoint: how to make the assistant (class_path and init_args)."""

FROZEN = "frozen_fingerprint"
"""Key in a checkpoint: fingerprint of the weights that are named and not copied, for each part."""

CONFIG = "config"
"""Key in a checkpoint: the resolved config of the run, where a command started it."""

OPTIMISED = "optimised"
"""Key in a checkpoint: settings of the optimiser, and name to factor of the learning rate of what was trained."""

SEED = "fresh_weights_seed"
"""Key in a checkpoint: seed of the weights that no pretrained file brought."""

CHUNK = 2**24
"""Values that are hashed at a time, so that no copy of a large tensor is made."""


def fingerprint(module: nn.Module, trained: Iterable[str]) -> dict[str, str]:
    """Return a fingerprint of the weights that are not trained, for each direct part of a module.

    All values count, floating ones in the precision of bfloat16, so that it is the same for the same weights on any
    device and in any precision of at least that. A thousand million values take about two seconds.

    Args:
        module: The assistant, built.
        trained: Names of the weights that are trained.
    """
    state = module.state_dict()
    # tied weights are one tensor under several names
    moving = {state[name].data_ptr() for name in trained}
    digests: dict[str, Any] = {}
    for name, value in sorted(state.items()):
        if value.data_ptr() in moving:
            continue
        # processors of today have instructions for this one
        digest = digests.setdefault(name.split(".")[0], sha256())
        digest.update(f"{name}{tuple(value.shape)}".encode())
        for content in _contents(value):
            digest.update(content)
    return {part: digest.hexdigest()[:32] for part, digest in digests.items()}


def check_frozen(stored: Mapping[str, str], module: nn.Module, trained: Iterable[str], seed: int | None = None) -> None:
    """Check that the frozen weights are those that a checkpoint was trained with.

    Args:
        stored: The checkpoint's fingerprint.
        module: The assistant, built.
        trained: Names of the weights that are trained.
        seed: Seed of the checkpoint's fresh weights, for the message, where a config might have another.

    Raises:
        CheckpointError: If a part's frozen weights are others.
    """
    found = fingerprint(module, trained)
    changed = sorted(part for part in stored.keys() | found.keys() if stored.get(part) != found.get(part))
    if changed:
        fresh = "" if seed is None else f" (what is random there has model.seed: {seed})"
        raise CheckpointError(
            f"the frozen weights of {', '.join(changed)} are not those that the checkpoint was trained with; use the "
            f"pretrained weights, and the version of the package that brings them, of that run{fresh}, or go on with "
            "these all the same by frozen_check: false"
        )


def check_weights(stored: Mapping[str, Tensor], wanted: Iterable[str], module: nn.Module) -> None:
    """Check that stored weights are those of a module.

    Args:
        stored: Name to weight, as in the checkpoint.
        wanted: Names that must be there.
        module: The module that takes them.

    Raises:
        CheckpointError: If weights are missing, unknown or of another shape; names the first few.
    """
    state = module.state_dict()
    wanted = set(wanted)
    faults = [f"{name} is missing" for name in sorted(wanted - stored.keys())]
    faults += [f"{name} is unknown" for name in sorted(stored.keys() - state.keys())]
    faults += [f"{name} was not trained here" for name in sorted((stored.keys() & state.keys()) - wanted)]
    faults += [
        f"{name} has shape {tuple(stored[name].shape)}, here {tuple(state[name].shape)}"
        for name in sorted(stored.keys() & state.keys())
        if stored[name].shape != state[name].shape
    ]
    if faults:
        more = f" and {len(faults) - 4} more" if len(faults) > 4 else ""
        raise CheckpointError(
            f"a checkpoint of another architecture: {'; '.join(faults[:4])}{more}; give the config that it was trained "
            "with (config_fit.yaml in its run folder, config.yaml in an exported or imported one), or, to evaluate, "
            "leave the config out, so that the checkpoint's own is used"
        )


def _contents(value: Tensor) -> Iterator[memoryview]:
    """Yield the bytes of a tensor, a chunk at a time."""
    for chunk in value.detach().flatten().split(CHUNK):
        same = chunk.to(torch.bfloat16) if chunk.is_floating_point() else chunk
        yield same.contiguous().cpu().view(torch.uint8).numpy().data
