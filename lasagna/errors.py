"""Errors that users can meet, each naming the thing and the way out."""


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
