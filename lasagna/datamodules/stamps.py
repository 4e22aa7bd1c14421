"""What the items of a write were made from, so that a write that was stopped does not go on over other files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import file_digest, sha256
from pathlib import Path

Stamp = Callable[[int], str]
"""Takes an index and says what it is made from, e.g. its files with their sizes and times."""


class Stamps:
    """A checksum over the stamps of the first so many items, which grows with them.

    Args:
        stamp: Says what an item is made from.
    """

    def __init__(self, stamp: Stamp) -> None:
        self.stamp = stamp
        self.count = 0
        self._digest = sha256()

    def up_to(self, count: int) -> str:
        """Return the checksum over the first ``count`` items, no fewer than when it was last asked for."""
        for index in range(self.count, count):
            self._digest.update(f"{self.stamp(index)}\n".encode())
        self.count = count
        return self._digest.hexdigest()


def file_stamp(paths: Iterable[Path]) -> str:
    """Return names, sizes and times of change of some files; nothing is read."""
    return "\n".join(f"{path.name} {_size_and_time(path)}" for path in paths)


def content_stamp(path: Path) -> str:
    """Return the checksum of a file, or that it is missing."""
    try:
        with path.open("rb") as file:
            return f"sha256 {file_digest(file, 'sha256').hexdigest()}"
    except OSError:
        return "missing"


def _size_and_time(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"
