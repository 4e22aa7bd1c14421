"""A shard, and where shards are read from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lasagna.errors import ShardError


@dataclass(frozen=True)
class Shard:
    """One tar file of records.

    Args:
        file: Its name within the folder.
        records: How many records it holds.
        bytes: Its size.
        sha256: Its checksum, hexadecimal.
    """

    file: str
    records: int
    bytes: int
    sha256: str


class ShardFolder(ABC):
    """A folder of shards to read from; its text is what users call it."""

    way_out: str
    """What to do about a shard that cannot be read or is not what was written."""

    @abstractmethod
    def place(self, file: str) -> str:
        """Return where a file is, for messages."""

    @abstractmethod
    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest.

        Raises:
            ShardError: If it is not there or cannot be read.
        """

    @abstractmethod
    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading.

        Raises:
            OSError: If it cannot be read; also when reading from it.
        """

    @abstractmethod
    def size_faults(self, shards: Sequence[Shard]) -> list[str]:
        """Say which shards are missing or of another size, as far as that can be told without reading them."""


@dataclass(frozen=True)
class LocalFolder(ShardFolder):
    """A folder on disk.

    Args:
        path: Where it is.
    """

    path: Path

    way_out = "copy or write the data again"

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def place(self, file: str) -> str:
        """Return the path of a file."""
        return str(self.path / file)

    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest.

        Raises:
            ShardError: If it is not there.
        """
        path = self.path / file
        if not path.is_file():
            state = "has no" if self.path.is_dir() else "does not exist, so there is no"
            raise ShardError(
                f"{self.path}: the folder {state} {file}; shards without it were not written to the end. Write them "
                f"again (`python train.py` writes the scenes, `lasagna convert` a data set), or correct the path"
            )
        return path.read_bytes()

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading.

        Raises:
            OSError: If it cannot be read.
        """
        return (self.path / shard.file).open("rb")

    def size_faults(self, shards: Sequence[Shard]) -> list[str]:
        """Say which shards are missing, empty, truncated or longer than they were."""
        return [fault for shard in shards if (fault := self._size_fault(shard))]

    def _size_fault(self, shard: Shard) -> str:
        path = self.path / shard.file
        if not path.is_file():
            return f"{path}: the shard is missing; {self.way_out}"
        return size_fault(str(path), shard, path.stat().st_size, self.way_out)


def size_fault(place: str, shard: Shard, size: int, way_out: str) -> str:
    """Say what is wrong with a shard's size; empty if nothing is.

    Args:
        place: Where the shard is.
        shard: What was written.
        size: Bytes that are there.
        way_out: What to do about it.
    """
    if size == shard.bytes:
        return ""
    state = "empty" if size == 0 else "truncated" if size < shard.bytes else "not what was written"
    return f"{place}: the shard is {state} ({size} of {shard.bytes} bytes); {way_out}"
