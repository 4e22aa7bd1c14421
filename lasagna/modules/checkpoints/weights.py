"""The parts of a checkpoint: trained weights, the assistant's config, and a fingerprint of the frozen weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lasagna.core.prompt_format import PromptFormat
from lasagna.core.query_kind import KINDS, QueryKind, kinds_of_forms
from lasagna.errors import CheckpointError, ConfigError

PREFIX = "assistant."
"""Prefix of the assistant's weights in a checkpoint's state dict."""

ASSISTANT_CONFIG = "assistant_config"
"""Key in a checkpoint: the assistant's config (class_path and init_args)."""

FROZEN = "frozen_fingerprint"
"""Key in a checkpoint: fingerprint of the frozen weights, which it does not hold, for each part."""

CONFIG = "config"
"""Key in a checkpoint: the resolved config of the run, if a command started it."""

OPTIMISED = "optimised"
"""Key in a checkpoint: settings of the optimiser, and the learning rate's factor by name of a trained weight."""

SEED = "fresh_weights_seed"
"""Key in a checkpoint: seed of the weights that did not come from a pretrained file."""

LEARNED = "learned_kinds"
"""Key in a checkpoint: name to form of each kind of query that the assistant's trainings had."""

CHUNK = 2**24
"""Number of values that are hashed at once, so that large tensors are not copied."""


def assistant_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights in a checkpoint by the assistant's own names."""
    state = checkpoint["state_dict"]
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


_KINDS: dict[str, tuple[type, str]] = {
    "state_dict": (dict, "tensors by name"),
    ASSISTANT_CONFIG: (dict, "class_path and init_args"),
    CONFIG: (dict, "settings by name"),
    FROZEN: (dict, "a fingerprint for each part"),
    OPTIMISED: (dict, "settings and factors"),
    SEED: (int, "a whole number"),
    LEARNED: (dict, "a form for each kind of query"),
}
"""Key in a checkpoint to the kind of its value, and what that is in words."""


def check_content(checkpoint: Mapping[str, Any], place: str | Path) -> None:
    """Check that the values in a checkpoint are of the kinds that are read from them.

    Args:
        checkpoint: The content of a file, or of a folder.
        place: The file or folder, for the message.

    Raises:
        CheckpointError: If one is not; names the first.
    """
    for key, (kind, words) in _KINDS.items():
        value = checkpoint.get(key)
        if value is not None and not isinstance(value, kind):
            raise CheckpointError(
                f"checkpoint: {str(place)!r} has a {type(value).__name__} as {key}, expected {words}; it was changed "
                "or is damaged; train again, or use another one"
            )
    odd = [name for name, value in (checkpoint.get("state_dict") or {}).items() if not isinstance(value, Tensor)]
    if odd:
        raise CheckpointError(
            f"checkpoint: {str(place)!r} has no tensor at {odd[0]!r} of its state_dict; train again, or use another one"
        )


def learned_kinds(checkpoint: Mapping[str, Any], prompt_format: PromptFormat | None = None) -> dict[str, QueryKind]:
    """Return the kinds of query of the trainings before a checkpoint, by name.

    Args:
        checkpoint: The content of a file, or of a folder. If it does not say, it may have learned all kinds of the
            package for which its format has a prompt.
        prompt_format: The assistant's prompt format; None for only those of which the checkpoint says it.

    Raises:
        CheckpointError: If what it says is no such thing.
    """
    try:
        if checkpoint.get(LEARNED):
            return kinds_of_forms(checkpoint[LEARNED])
        return {name: kind for name, kind in KINDS.items() if prompt_format and name in prompt_format.prompts}
    except ConfigError as error:
        raise CheckpointError(
            f"checkpoint: {LEARNED}: {error}; it was changed or is damaged; remove this key, or use another one"
        ) from error


def check_finite(weights: Mapping[str, Tensor], names: Collection[str]) -> None:
    """Check that weights are numbers, since answers of others look like "absent".

    Args:
        weights: Name to weight; of one that is divided among processes, each checks its own rows.
        names: Names of the weights that must also not be infinite, as some buffers are on purpose.

    Raises:
        CheckpointError: If some are not; names the first.
    """
    for name, value in weights.items():
        if not value.is_floating_point():
            continue
        rows = value.to_local() if hasattr(value, "to_local") else value
        # in parts, so that a large weight is not copied
        bad = sum(
            int((~torch.isfinite(part) if name in names else torch.isnan(part)).sum())
            for part in rows.detach().flatten().split(CHUNK)
        )
        if bad:
            raise CheckpointError(
                f"weights that are not finite: {bad} of the {value.numel()} values of {name}; the training had "
                "diverged, or the file is damaged; use an earlier checkpoint, or train again at a lower learning rate"
            )


def fingerprint(module: nn.Module, trained: Iterable[str]) -> dict[str, str]:
    """Compute a fingerprint of the weights that are not trained, for each direct child of a module.

    All values count, floating-point ones rounded to bfloat16, so that the same weights have the same fingerprint on any
    device and in any precision of at least that. A billion values take about two seconds.

    Args:
        module: The assistant, built.
        trained: Names of the weights that are trained.

    Returns:
        Name of the child to its fingerprint.
    """
    state = module.state_dict()
    # tied weights are one tensor under several names
    trained_tensors = {state[name].data_ptr() for name in trained}
    digests: dict[str, Any] = {}
    for name, value in sorted(state.items()):
        if value.data_ptr() in trained_tensors:
            continue
        # today's processors have instructions for SHA-256
        digest = digests.setdefault(name.split(".")[0], sha256())
        digest.update(f"{name}{tuple(value.shape)}".encode())
        for chunk in value.detach().flatten().split(CHUNK):
            rounded = chunk.to(torch.bfloat16) if chunk.is_floating_point() else chunk
            digest.update(rounded.contiguous().cpu().view(torch.uint8).numpy().data)
    return {part: digest.hexdigest()[:32] for part, digest in digests.items()}


def check_frozen(stored: Mapping[str, str], found: Mapping[str, str], seed: int | None = None) -> None:
    """Check that the frozen weights are those that a checkpoint was trained with.

    Args:
        stored: The fingerprint in the checkpoint.
        found: The fingerprint of the weights here.
        seed: Seed of the checkpoint's random weights, for the message, where a config might have another.

    Raises:
        CheckpointError: If the frozen weights of a part differ.
    """
    changed = sorted(part for part in stored.keys() | found.keys() if stored.get(part) != found.get(part))
    if changed:
        random = "" if seed is None else f" (random weights there have model.seed: {seed})"
        raise CheckpointError(
            f"the frozen weights of {', '.join(changed)} are not those that the checkpoint was trained with; use the "
            f"pretrained weights, and the version of the package that brings them, of that run{random}, or "
            "continue with these weights by frozen_check: false"
        )


OWN_CONFIG = (
    "give the config that it was trained with (config_fit.yaml in its run folder, config.yaml in an exported or "
    "imported one), or, to evaluate, leave the config out, so that the checkpoint's own is used"
)
"""What helps where a checkpoint has another architecture."""


def check_weights(
    stored: Mapping[str, Tensor], wanted: Iterable[str], module: nn.Module, way_out: str = OWN_CONFIG
) -> None:
    """Check that stored weights fit a module.

    Args:
        stored: Name to weight, as in the checkpoint.
        wanted: Names that must be in the checkpoint.
        module: The module that will load them.
        way_out: What helps if they do not fit, for the message.

    Raises:
        CheckpointError: If weights are missing, unknown or have another shape (names the first few), or are not finite.
    """
    state = module.state_dict()
    wanted = set(wanted)
    problems = [f"{name} is missing" for name in sorted(wanted - stored.keys())]
    problems += [f"{name} is unknown" for name in sorted(stored.keys() - state.keys())]
    problems += [f"{name} was not trained here" for name in sorted((stored.keys() & state.keys()) - wanted)]
    problems += [
        f"{name} has shape {tuple(stored[name].shape)}, here {tuple(state[name].shape)}"
        for name in sorted(stored.keys() & state.keys())
        if stored[name].shape != state[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
        raise CheckpointError(f"a checkpoint of another architecture: {'; '.join(problems[:4])}{more}; {way_out}")
    check_finite(stored, dict(module.named_parameters()).keys())
