"""What training adds to Lightning's checkpoints, and how it is read again."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from lasagna.core.config import Config, config_of
from lasagna.core.query_kind import QueryKind
from lasagna.errors import CheckpointError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.modules.checkpoints.weights import (
    ASSISTANT_CONFIG,
    FROZEN,
    LEARNED,
    PREFIX,
    SEED,
    assistant_weights,
    check_frozen,
    check_weights,
    fingerprint,
    learned_kinds,
)
from lasagna.tasks.training.ema import RAW_WEIGHTS


def assistant_config(assistant: Assistant, config: Config | None) -> Config | None:
    """Return the assistant's config: from the run's config, or else from the assistant itself.

    Args:
        assistant: The assistant.
        config: The resolved config of the run, or None if no command started it.

    Returns:
        Its class_path and init_args; None, with a warning that says why, if it has no config.
    """
    model = (config or {}).get("model", {})
    found = model.get("init_args", model).get("assistant")
    if found is not None:
        return dict(found)
    try:
        return config_of(assistant)
    except CheckpointError as error:
        warnings.warn(f"lasagna.load will need the assistant as an argument for the checkpoints: {error}", stacklevel=2)
        return None


def store(
    checkpoint: dict[str, Any],
    kinds: Mapping[str, QueryKind],
    trained: Collection[str],
    frozen: Mapping[str, str],
    config: Config | None,
    seed: int,
) -> None:
    """Keep only trained weights in a checkpoint, and add what is needed to build the rest.

    Args:
        checkpoint: The checkpoint that Lightning is about to save.
        kinds: The kinds of query that the assistant's trainings had.
        trained: Names of the weights that training can change.
        frozen: Fingerprint of all other weights of the assistant.
        config: The assistant's config.
        seed: Seed of its fresh weights.
    """
    kept = {PREFIX + name for name in trained}
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {
        name: value for name, value in state.items() if name in kept or not name.startswith(PREFIX)
    }
    checkpoint[ASSISTANT_CONFIG] = config
    checkpoint[FROZEN] = dict(frozen)
    checkpoint[SEED] = seed
    checkpoint[LEARNED] = {str(name): kind.form for name, kind in kinds.items()}


def restore(
    checkpoint: dict[str, Any],
    assistant: Assistant,
    trained: Collection[str],
    *,
    averaged: bool,
    frozen: Mapping[str, str] | None,
) -> None:
    """Check that a checkpoint fits an assistant, before its weights are copied.

    Args:
        checkpoint: The loaded checkpoint; its raw weights replace the averages unless ``averaged``.
        assistant: The assistant, built.
        trained: Names of the weights that training can change.
        averaged: Whether to use the averaged weights if the checkpoint has them.
        frozen: Fingerprint of the frozen weights, which must be those of the checkpoint; None for no check.

    Raises:
        CheckpointError: If it has another architecture, or the frozen weights have changed.
    """
    if not averaged:
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **checkpoint.get(RAW_WEIGHTS, {})}
    check_weights(assistant_weights(checkpoint), trained, assistant)
    assistant.learned_kinds = learned_kinds(checkpoint, assistant.format)
    if frozen is not None:
        check_frozen(checkpoint[FROZEN], frozen, checkpoint.get(SEED))


_WAY_OUT = (
    "give the parts that the checkpoint was trained with (config_fit.yaml in its run folder), or take the weights of "
    "some parts alone, such as model.warm_start_parts=[language_model]"
)


def load_trained(assistant: Assistant, path: str, *, frozen_check: bool, parts: Collection[str] | None = None) -> None:
    """Load the weights of a checkpoint to start another training from them.

    Parts that the checkpoint's assistant did not have, such as a presence head, start fresh.

    Args:
        assistant: The assistant, built.
        path: The checkpoint.
        frozen_check: Whether the weights that are not in the checkpoint must be those that it was trained with.
        parts: Parts whose weights are loaded, such as "language_model"; None for all that the checkpoint has.

    Raises:
        CheckpointError: If the checkpoint has no weights of a part, the assistant lacks some of its weights or they
            have another shape, or if the other weights have changed.
    """
    checkpoint = read_checkpoint(path)
    weights, frozen = assistant_weights(checkpoint), checkpoint.get(FROZEN, {})
    if parts is not None:
        _check_parts(parts, weights, path)
        weights = {name: value for name, value in weights.items() if _part(name) in parts}
        frozen = {part: digest for part, digest in frozen.items() if part in parts}
    check_weights(weights, weights.keys(), assistant, _WAY_OUT)
    if frozen_check and FROZEN in checkpoint:
        known = {*frozen, *map(_part, weights)}
        found = {part: digest for part, digest in fingerprint(assistant, weights.keys()).items() if part in known}
        check_frozen(frozen, found, checkpoint.get(SEED))
    assistant.load_state_dict(weights, strict=False)
    if parts is None or "language_model" in parts:
        assistant.learned_kinds = learned_kinds(checkpoint, assistant.format)


def _check_parts(parts: Collection[str], weights: Collection[str], path: str) -> None:
    there = sorted(set(map(_part, weights)))
    unknown = sorted(set(parts) - set(there))
    if unknown:
        raise CheckpointError(
            f"warm_start_parts: {str(path)!r} holds no trained weights of {', '.join(map(repr, unknown))}; it has "
            f"{', '.join(there)}"
        )


def _part(name: str) -> str:
    """Return the part of the assistant that a weight belongs to."""
    return name.split(".")[0]
