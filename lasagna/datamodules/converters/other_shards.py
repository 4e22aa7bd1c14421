"""Leaving out photographs of COCO that other shards have, so that nothing trains on what it is scored on."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lasagna.datamodules.coco_numbers import coco_number
from lasagna.datamodules.converters.base import Split
from lasagna.datamodules.reading import LeftOut, Reading
from lasagna.datamodules.shard_set import read_manifest
from lasagna.errors import ConfigError, ShardError

REASON = "photograph that other shards have (`--without`)"


@dataclass(frozen=True)
class OtherShards:
    """Photographs that are not to be converted.

    Args:
        folders: The folders of shards that have them.
        numbers: Their numbers.
    """

    folders: tuple[str, ...]
    numbers: frozenset[str]

    def settings(self) -> dict[str, Any]:
        """Return what a stopped conversion must find again, nothing if there are no other shards."""
        digest = sha256(" ".join(sorted(self.numbers)).encode()).hexdigest()
        return {"without": [*self.folders, f"sha256 {digest}"]} if self.folders else {}

    def taken_from(self, split: Split) -> Split:
        """Return a split whose items that are such photographs are left out and counted."""
        return replace(split, read=ReadOthers(split.read, self.numbers)) if self.folders else split


@dataclass(frozen=True)
class ReadOthers:
    """Reads items, but none of some photographs.

    Args:
        read: Reads an item.
        numbers: Numbers of the photographs.
    """

    read: Callable[[Any], Reading]
    numbers: frozenset[str]

    def __call__(self, item: Any) -> Reading:  # noqa: ANN401
        """Read an item, unless it is one of the photographs.

        Raises:
            RecordError: If one of its files is broken or does not fit the others.
        """
        key = str(getattr(item, "key", item))
        if coco_number(key) in self.numbers:
            return Reading(None, (LeftOut(REASON, key),))
        return self.read(item)


def other_shards(folders: Sequence[str]) -> OtherShards:
    """Read which photographs some shards have; of the shards, only the names of files are looked at.

    Args:
        folders: Folders of shards on disk.

    Raises:
        ShardError: If one holds no shards, or a broken one.
        ConfigError: If one has no photographs of COCO.
    """
    numbers: set[str] = set()
    for folder in folders:
        if not (found := _numbers(Path(folder))):
            raise ConfigError(f"without: {folder} has no photographs of COCO, which are known by their numbers")
        numbers |= found
    return OtherShards(tuple(folders), frozenset(numbers))


def _numbers(folder: Path) -> set[str]:
    numbers = set()
    for shard in read_manifest(folder).shards:
        try:
            with tarfile.open(folder / shard.file) as tar:
                numbers |= {coco_number(unquote(name.partition(".")[0])) for name in tar.getnames()}
        except (OSError, tarfile.TarError) as fault:
            raise ShardError(f"{folder / shard.file}: the shard cannot be read ({fault}); convert it again") from fault
    return {number for number in numbers if number}
