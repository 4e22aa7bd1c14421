"""Layers that keep a state in place of keys and values, as linear attention and short convolutions do.

A state cannot forget the last tokens, nor skip a padding token. It is therefore saved before tokens are read, and goes
back to what it was in each row that does not keep all of them; those that are kept are read again with the next ones.

Notation: r: rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any

import transformers
from torch import Tensor
from transformers import MODEL_MAPPING

from lasagna.errors import ConfigError

RECURRENT = frozenset({"conv", "linear_attention", "hybrid", "hybrid_sliding"})
"""Transformers' names for layers that keep a state, in place of keys and values or beside them."""

PROVEN = frozenset({"lfm2", "lfm2_moe", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"})
"""Models with such layers that decode as one forward pass does; tests compare them."""

SINCE = (5, 15)
"""First version of transformers in which these continue from a state with several tokens at once."""


class RecurrentStates:
    """The states in a cache of transformers.

    Args:
        cache: The cache, with layers of all kinds.
    """

    def __init__(self, cache: Any) -> None:  # noqa: ANN401
        self._layers = getattr(cache, "layers", ())
        self._saved: list[Tensor] = []

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return any(map(_keeps_state, self._layers))

    def save(self) -> None:
        """Remember the states as they are now."""
        self._saved = [state.clone() for state in self._tensors()]

    def restore(self, rows: Tensor) -> None:
        """Bring back the remembered states.

        Args:
            rows: The rows whose states are brought back, bool ``[r]``.
        """
        for state, saved in zip(self._tensors(), self._saved, strict=True):
            state[rows] = saved[rows]

    def crop(self, count: int) -> None:
        """Remove the last tokens from the layers that keep keys and values.

        Args:
            count: Number of tokens.
        """
        for layer in self._layers:
            if not _keeps_state(layer):
                layer.crop(-count)

    def _tensors(self) -> list[Tensor]:
        layers = [layer for layer in self._layers if _keeps_state(layer)]
        groups = [group for layer in layers for group in (layer.conv_states, layer.recurrent_states)]
        return [state for group in groups for state in group.values() if state is not None]


def check_recurrent(config: Any) -> None:  # noqa: ANN401
    """Check that decoding can go back in the cache of a model.

    Args:
        config: Config of the language layers.

    Raises:
        ConfigError: If it cannot.
    """
    layers = MODEL_MAPPING.get(type(config), None)
    keeps = not hasattr(layers, "forward") or "past_key_values" in signature(layers.forward).parameters
    recurrent = RECURRENT & set(getattr(config, "layer_types", None) or ())
    if keeps and not recurrent and not getattr(layers, "_is_stateful", False):
        return
    kind = config.model_type
    if kind not in PROVEN:
        raise ConfigError(
            f"model: some layers of a {kind!r} keep no attention keys and values, and decoding is not known to go back "
            f"in them; take one of {', '.join(sorted(PROVEN))}, or a model in which every layer attends, such as a "
            "Llama or a Qwen2"
        )
    if version() < SINCE:
        wanted, found = (".".join(map(str, numbers)) for numbers in (SINCE, version()))
        raise ConfigError(
            f"model: a {kind!r} needs transformers {wanted}, since layers of older ones cannot go on from their state, "
            f"got {found}; upgrade it, or take a model in which every layer attends"
        )


def version() -> tuple[int, ...]:
    """Return the first two numbers of transformers' version."""
    return tuple(map(int, transformers.__version__.split(".")[:2]))


def behind(hidden: Tensor, early: Sequence[Sequence[int]], width: int) -> Tensor:
    """Return the hidden states of each row behind those that were read again.

    Args:
        hidden: Float ``[r, t, d]``.
        early: Tokens of each row that were read again.
        width: Number of states to return, of which the last may stand for padding.

    Returns:
        Float ``[r, width, d]``.
    """
    found = hidden.new_zeros(len(hidden), width, hidden.shape[2])
    for row, again in enumerate(early):
        new = hidden[row, len(again) : len(again) + width]
        found[row, : len(new)] = new
    return found


def _keeps_state(layer: Any) -> bool:  # noqa: ANN401
    return hasattr(layer, "recurrent_states")
