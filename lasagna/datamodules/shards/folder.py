"""A shard, and the folder that shards are read from."""

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
        records: Number of records.
        bytes: Size of the file.
        sha256: Checksum of the file, hexadecimal.
    """

    file: str
    records: int
    bytes: int
    sha256: str


class ShardFolder(ABC):
    """A folder of shards to read from; ``str()`` gives its path or address as the user wrote it."""

    remedy: str
    """What to do about a shard that cannot be read or differs from what was written."""

    @property
    def place(self) -> Path | None:
        """A folder on disk for what is computed from the shards, or None if there is none."""
        return None

    @abstractmethod
    def location(self, file: str) -> str:
        """Return the path or address of a file, for messages."""

    @abstractmethod
    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest.

        Args:
            file: Name of the manifest.

        Raises:
            ShardError: If it is missing or cannot be read.
        """

    @abstractmethod
    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading.

        Raises:
            OSError: If it cannot be read, now or later.
        """

    @abstractmethod
    def size_errors(self, shards: Sequence[Shard]) -> list[str]:
        """Return an error for each shard that is missing or has another size, as far as sizes are known unread."""


@dataclass(frozen=True)
class LocalFolder(ShardFolder):
    """A folder on disk.

    Args:
        path: Its path.
    """

    path: Path

    remedy = "copy or write the data again"

    @property
    def place(self) -> Path:
        """The folder itself."""
        return self.path

    def __str__(self) -> str:
        """Return the path."""
        return str(self.path)

    def location(self, file: str) -> str:
        """Return the path of a file."""
        return str(self.path / file)

    def manifest(self, file: str) -> bytes:
        """Return the content of a manifest.

        Args:
            file: Name of the manifest.

        Raises:
            ShardError: If it is missing.
        """
        path = self.path / file
        if not path.is_file():
            if splits := sorted(found.parent.name for found in self.path.glob(f"*/{file}")):
                raise ShardError(
                    f"{self.path}: the folder has no {file}, but its folders {', '.join(splits)} have; name one of them"
                )
            state = "has no" if self.path.is_dir() else "does not exist, so there is no"
            raise ShardError(
                f"{self.path}: the folder {state} {file}; without it the shards are incomplete. Write them again "
                f"(`python train.py` writes the scenes, `lasagna convert` a data set), or correct the path"
            )
        return path.read_bytes()

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard for reading.

        Raises:
            OSError: If it cannot be read.
        """
        return (self.path / shard.file).open("rb")

    def size_errors(self, shards: Sequence[Shard]) -> list[str]:
        """Return an error for each shard that is missing, empty, truncated or too long."""
        return [error for shard in shards if (error := self._size_error(shard))]

    def _size_error(self, shard: Shard) -> str:
        path = self.path / shard.file
        if not path.is_file():
            return f"{path}: the shard is missing; {self.remedy}"
        return size_error(str(path), shard, path.stat().st_size, self.remedy)


def size_error(location: str, shard: Shard, size: int, remedy: str) -> str:
    """Return what is wrong with the size of a shard; empty if nothing is.

    Args:
        location: Path or address of the shard.
        shard: The shard as it was written.
        size: Its size now, in bytes.
        remedy: What to do about it.
    """
    if size == shard.bytes:
        return ""
    state = "empty" if size == 0 else "truncated" if size < shard.bytes else "not what was written"
    return f"{location}: the shard is {state} ({size} of {shard.bytes} bytes); {remedy}"
