"""Errors that users can meet, each naming the thing and the way out."""

from __future__ import annotations


class LasagnaError(Exception):
    """Base of the errors that are the input's fault, so that a command can show them without a traceback."""


class ConfigError(LasagnaError, ValueError):
    """A setting that cannot be used, or does not go with another one."""


class QueryError(LasagnaError, ValueError):
    """A query that cannot be asked: empty, with doubled names, or longer than the language model takes."""


class RecordError(LasagnaError, ValueError):
    """A record that cannot be used: a broken image, a mask of another size, an unknown label."""


class ShardError(LasagnaError, OSError):
    """A shard or manifest that is missing, empty or truncated."""


class NoRecordsError(ShardError):
    """Shards that there is nothing to write into."""


class CheckpointError(LasagnaError, ValueError):
    """A checkpoint that does not belong to the model it is loaded into."""


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
