"""Errors that users can meet. Each names the argument, its value, what is allowed and the way out."""

from __future__ import annotations

import re


class LasagnaError(Exception):
    """Base of the errors caused by input, which commands show without a traceback."""


class ConfigError(LasagnaError, ValueError):
    """A setting that cannot be used, alone or together with another one."""


class QueryError(LasagnaError, ValueError):
    """A query that cannot be asked: empty, with duplicate names, or longer than the language model takes."""


class RecordError(LasagnaError, ValueError):
    """A record that cannot be used: a broken image, a mask of the wrong size, an unknown label."""


class ShardError(LasagnaError, OSError):
    """A shard or manifest that is missing, empty or truncated."""


class NoRecordsError(ShardError):
    """Shards without any records to write."""


class CheckpointError(LasagnaError, ValueError):
    """A checkpoint that does not fit the model it is loaded into."""


class OutputError(LasagnaError, OSError):
    """A file or folder that cannot be written."""


class TrainingError(LasagnaError, ArithmeticError):
    """A training that cannot go on, since its numbers are not finite."""


_SECRET = re.compile(r"(?<=://)[^/@\s'\"]*@|(?<=\?)[^\s'\"]+")


def without_secrets(text: str) -> str:
    """Return a text with user, password and query of each address in it replaced by stars, for messages.

    Args:
        text: An address, a command or a message.
    """
    return _SECRET.sub(lambda found: "***@" if found[0].endswith("@") else "***", text) if "://" in text else text


def check_counts(**counts: int | None) -> None:
    """Check that counts are at least 1.

    Args:
        counts: Name of each argument to its value; None passes.

    Raises:
        ConfigError: If a count is smaller.
    """
    for name, value in counts.items():
        if value is not None and value < 1:
            raise ConfigError(f"{name}: expected a whole number of at least 1, got {value}")
