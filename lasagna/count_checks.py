"""Whole numbers that commands take."""

from __future__ import annotations

from lasagna.errors import ConfigError


def check_counts(**counts: int | None) -> None:
    """Check that counts are one at least; None where nothing is given.

    Args:
        counts: Argument to its value.

    Raises:
        ConfigError: If one is not.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}: expected a whole number from 1, got {value}")
