"""The records of shards, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from os import PathLike, fspath

from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.codec import decode_record, record_key
from lasagna.datamodules.shards.manifest import ShardSet, read_shard_set
from lasagna.datamodules.shards.reader import read_shard
from lasagna.datamodules.shards.remote import open_folder
from lasagna.datamodules.shards.transport import RemoteOptions
from lasagna.errors import RecordError

Keys = str | Iterable[str] | Callable[[str], bool]
"""Which records to read: a pattern such as "val/*", some keys, or a function of a key."""


class Records(Iterable[Record]):
    """The records of shards, in their order. Each iteration reads the shards anew, no faster than it is asked to.

    Args:
        shards: Folder of the shards and their ``manifest.json``: a path, a URL, or ``pipe:`` with a command, as
            for ``Source``.
        keys: Which records to decode; None for all. An iteration over some keys ends with the last one of them.
        remote: Retries, timeout and cache for shards that are not on disk.
    """

    def __init__(
        self, shards: str | PathLike[str], keys: Keys | None = None, remote: RemoteOptions | None = None
    ) -> None:
        self.folder = open_folder(fspath(shards), remote)
        self.keys = frozenset(keys) if isinstance(keys, Iterable) and not isinstance(keys, str) else keys

    @cached_property
    def shard_set(self) -> ShardSet:
        """The shards.

        Raises:
            ShardError: If the manifest is missing or cannot be read.
        """
        return read_shard_set(self.folder)

    @property
    def manifest(self) -> Manifest:
        """Facts about all records.

        Raises:
            ShardError: If the manifest is missing or cannot be read.
        """
        return self.shard_set.manifest

    def __iter__(self) -> Iterator[Record]:
        """Yield the records.

        Raises:
            ShardError: If the manifest or a shard is missing or broken.
            RecordError: If a record cannot be decoded, or there is none with one of the keys.
        """
        left = set(self.keys) if isinstance(self.keys, frozenset) else None
        for raw in (raw for shard in self.shard_set.shards for raw in read_shard(self.shard_set, shard)):
            if left is not None and not left:
                return
            key = record_key(raw)
            if self._is_asked(key):
                yield decode_record(raw, self.manifest)
                if left is not None:
                    left.discard(key)
        if left:
            few = ", ".join(map(repr, sorted(left)[:3]))
            raise RecordError(
                f"{self.folder}: there is no record with the key {few}{' and others' if len(left) > 3 else ''}; "
                "`[record.key for record in lasagna.records(...)]` lists all keys"
            )

    def _is_asked(self, key: str) -> bool:
        if self.keys is None:
            return True
        if isinstance(self.keys, str):
            return fnmatchcase(key, self.keys)
        return key in self.keys if isinstance(self.keys, frozenset) else self.keys(key)


def records(shards: str | PathLike[str], keys: Keys | None = None, remote: RemoteOptions | None = None) -> Records:
    """Return the records of shards, to be gone through one by one.

    Args:
        shards: Folder of the shards and their ``manifest.json``: a path, a URL (``http://``, ``https://``, ``s3://``),
            or ``pipe:`` with a shell command that writes the file ``{file}`` to its standard output.
        keys: Which records to read: a pattern such as "val/*", some keys, or a function that says whether a key is
            asked for; None for all. Others are not decoded.
        remote: Retries, timeout and cache for shards that are not on disk.

    Returns:
        The records, read as they are asked for, and their ``manifest``.

    Raises:
        ConfigError: If the address has an unknown scheme.
    """
    return Records(shards, keys, remote)
