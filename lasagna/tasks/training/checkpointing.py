"""What training puts into a checkpoint beside Lightning's own, and how it is taken out again."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from lasagna.core.config import Config, config_of
from lasagna.errors import CheckpointError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, FROZEN, PREFIX, SEED, check_frozen, check_weights
from lasagna.tasks.training.ema import RAW_WEIGHTS


def assistant_config(assistant: Assistant, config: Config | None) -> Config | None:
    """Return how to make the assistant again: from the run's config, else from the assistant itself.

    Args:
        assistant: The assistant.
        config: The resolved config of the run, or None if no command started it.

    Returns:
        Its class_path and init_args; None, with a warning that says why, if it cannot be described.
    """
    model = (config or {}).get("model", {})
    recipe = model.get("init_args", model).get("assistant")
    if recipe is not None:
        return dict(recipe)
    try:
        return config_of(assistant)
    except CheckpointError as error:
        warnings.warn(f"the checkpoints will need the assistant given to lasagna.load: {error}", stacklevel=2)
        return None


def store(
    checkpoint: dict[str, Any], trained: Collection[str], frozen: Mapping[str, str], recipe: Config | None, seed: int
) -> None:
    """Leave only what was trained in a checkpoint, and say how to make the rest.

    Args:
        checkpoint: What Lightning is about to save.
        trained: Names of what training can change.
        frozen: Fingerprint of all other weights of the assistant.
        recipe: How to make the assistant.
        seed: Seed of its fresh weights.
    """
    kept = {PREFIX + name for name in trained}
    state = checkpoint["state_dict"]
    checkpoint["state_dict"] = {
        name: value for name, value in state.items() if name in kept or not name.startswith(PREFIX)
    }
    checkpoint[ASSISTANT_CONFIG] = recipe
    checkpoint[FROZEN] = dict(frozen)
    checkpoint[SEED] = seed


def restore(
    checkpoint: dict[str, Any], assistant: Assistant, trained: Collection[str], *, averaged: bool, frozen_check: bool
) -> None:
    """Check that a checkpoint belongs to an assistant, before its weights are copied.

    Args:
        checkpoint: What was loaded; its weights themselves replace their running mean unless that is wanted.
        assistant: The assistant, built.
        trained: Names of what training can change.
        averaged: Whether the running mean of the weights is wanted, if the checkpoint has one.
        frozen_check: Whether the frozen weights must be those of the checkpoint.

    Raises:
        CheckpointError: If it is of another architecture, or the frozen weights have changed.
    """
    if not averaged:
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **checkpoint.get(RAW_WEIGHTS, {})}
    check_weights(assistant_weights(checkpoint), trained, assistant)
    if frozen_check and FROZEN in checkpoint:
        check_frozen(checkpoint[FROZEN], assistant, trained, checkpoint.get(SEED))


def load_trained(assistant: Assistant, path: str, *, frozen_check: bool) -> None:
    """Take the weights of a checkpoint that fit, as the start of another training.

    Args:
        assistant: The assistant, built.
        path: The checkpoint.
        frozen_check: Whether what the checkpoint does not hold must be what it was trained with.

    Raises:
        CheckpointError: If it holds weights that the assistant lacks, or of another shape, or the others have changed.
    """
    checkpoint = read_checkpoint(path)
    weights = assistant_weights(checkpoint)
    check_weights(weights, weights.keys(), assistant)
    if frozen_check and FROZEN in checkpoint:
        check_frozen(checkpoint[FROZEN], assistant, weights.keys(), checkpoint.get(SEED))
    assistant.load_state_dict(weights, strict=False)


def assistant_weights(checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Return the assistant's weights in a checkpoint, under the assistant's own names."""
    state = checkpoint["state_dict"]
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
