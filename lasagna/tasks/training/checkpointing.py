"""What training adds to Lightning's checkpoints, and how it is read again."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

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


def load_trained(assistant: Assistant, path: str, *, frozen_check: bool) -> None:
    """Load the weights of a checkpoint to start another training from them.

    Parts that the checkpoint's assistant did not have, such as a presence head, start fresh.

    Args:
        assistant: The assistant, built.
        path: The checkpoint.
        frozen_check: Whether the weights that are not in the checkpoint must be those that it was trained with.

    Raises:
        CheckpointError: If the assistant lacks some of its weights or they have another shape, or if the other weights
            have changed.
    """
    checkpoint = read_checkpoint(path)
    weights = assistant_weights(checkpoint)
    check_weights(weights, weights.keys(), assistant)
    if frozen_check and FROZEN in checkpoint:
        known = {*checkpoint[FROZEN], *(name.split(".")[0] for name in weights)}
        found = {part: digest for part, digest in fingerprint(assistant, weights.keys()).items() if part in known}
        check_frozen(checkpoint[FROZEN], found, checkpoint.get(SEED))
    assistant.load_state_dict(weights, strict=False)
    assistant.learned_kinds = learned_kinds(checkpoint, assistant.format)


def assistant_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the assistant's weights in a checkpoint, without the prefix of the LightningModule."""
    state = checkpoint["state_dict"]
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
