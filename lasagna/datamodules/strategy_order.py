"""In which order strategies can stand."""

from __future__ import annotations

from collections.abc import Sequence

from lasagna.datamodules.strategies import NegativeInjection, Strategy
from lasagna.errors import ConfigError


def check_order(strategies: Sequence[Strategy], place: str, *, scored: bool = False) -> None:
    """Check that no strategy calls absent what one before it left out of the answer, and no score does.

    Args:
        strategies: The strategies, in order.
        place: Where they stand, for the message.
        scored: Whether the dialogues are scored.

    Raises:
        ConfigError: If ``NegativeInjection``, or a score, comes behind a strategy that leaves out present names.
    """
    for rank, strategy in enumerate(strategies):
        if not strategy.leaves_out_present:
            continue
        left_out = f"{place}: {type(strategy).__name__} asks for present names and does not answer them"
        if scored:
            raise ConfigError(f"{left_out}, and scores would take them for absent; use it in training alone")
        if any(isinstance(later, NegativeInjection) for later in strategies[rank:]):
            raise ConfigError(f"{left_out}, and NegativeInjection behind it would call them absent; put it before")
