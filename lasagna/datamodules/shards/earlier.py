"""What an earlier write left in a folder: complete shards to go on after, or finished ones to leave as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from lasagna.datamodules.shards.manifest import MANIFEST_FILE, UNFINISHED_FILE, ShardSet, read_shard_set
from lasagna.datamodules.shards.tally import InputFingerprint
from lasagna.errors import ConfigError, ShardError

_SHOWN = 60
"""Number of characters of a setting in a message."""


@dataclass(frozen=True)
class Limits:
    """Size at which a shard is full: a number of records or of bytes, whichever is reached first.

    Args:
        records: Number of records.
        bytes: Number of bytes.

    Raises:
        ConfigError: If one of them is not positive.
    """

    records: int
    bytes: int

    def __post_init__(self) -> None:
        """Check the limits."""
        for name, value in (("records_per_shard", self.records), ("bytes_per_shard", self.bytes)):
            if value < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {value}")

    def reached(self, records: int, size: int) -> bool:
        """Return whether a shard with some records of some bytes is full."""
        return records >= self.records or size >= self.bytes

    def fit(self, shard_set: ShardSet, last: bool) -> bool:
        """Return whether shards were written within these limits.

        Args:
            shard_set: The shards.
            last: Whether the last of them must be full, too.
        """
        shards = shard_set.shards
        full = shards if last else shards[:-1]
        return all(shard.records <= self.records for shard in shards) and all(
            self.reached(shard.records, shard.bytes) for shard in full
        )


def stopped_write(wanted: ShardSet, limits: Limits) -> ShardSet:
    """Return the complete shards of a stopped write with the same settings, or the wanted set without any shards.

    Args:
        wanted: What is to be written, without shards.
        limits: Size of the shards.

    Raises:
        ShardError: If the stopped write had other inputs.
    """
    try:
        found = read_shard_set(wanted.folder, UNFINISHED_FILE)
    except ShardError:
        return wanted
    is_same = (found.format, found.manifest) == (wanted.format, wanted.manifest)
    is_same = is_same and found.settings == _stored(wanted.settings)
    if not (wanted.settings and is_same and not found.errors() and limits.fit(found, last=True)):
        return wanted
    if changed := [name for name, value in wanted.reads.items() if found.reads.get(name) != value]:
        was, now = (", ".join(f"{name} {part.reads.get(name)}" for name in changed) for part in (found, wanted))
        raise ShardError(
            f"{wanted.folder}: a stopped write is here that had other inputs: {was}; now they are {now}; use the same "
            "inputs again, or remove the folder or choose another to start over"
        )
    return replace(found, settings=wanted.settings)


def finished_write(wanted: ShardSet, limits: Limits | None, count: int, inputs: InputFingerprint) -> ShardSet | None:
    """Return the finished shards of a folder if they are what is wanted; None if there are none, or incomplete ones.

    Args:
        wanted: What is to be written, without shards.
        limits: Size of the shards, or None for any.
        count: Number of items.
        inputs: Fingerprint of what the items are made from.

    Raises:
        ShardError: If they have other settings, or were made from other inputs.
    """
    try:
        found = read_shard_set(wanted.folder, MANIFEST_FILE)
    except ShardError:
        return None
    if found.errors():
        return None
    differences = [*_differences(found, wanted)]
    if limits is not None and not limits.fit(found, last=False):
        differences.append("shards of another size")
    if not differences and (found.inputs or found.tally.taken != count):
        differences += ["inputs that have changed since"] * (inputs.whole(count) != found.inputs)
    if differences:
        raise ShardError(
            f"target: {wanted.folder} holds a finished conversion with {'; '.join(differences)}; choose another "
            "folder, or remove this one to convert again"
        )
    return found


def _differences(found: ShardSet, wanted: ShardSet) -> Iterator[str]:
    was, now = dict(found.settings), _stored(wanted.settings)
    for name in dict.fromkeys((*now, *was)):
        if was.get(name) != now.get(name):
            yield f"{name} {str(was.get(name))[:_SHOWN]}, which is now {str(now.get(name))[:_SHOWN]}"
    if found.format != wanted.format:
        yield f"format {found.format}, which is now {wanted.format}"
    for part in fields(wanted.manifest):
        if getattr(found.manifest, part.name) != getattr(wanted.manifest, part.name):
            yield f"other {part.name} in its manifest"


def _stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they come back from a manifest."""
    stored: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return stored
