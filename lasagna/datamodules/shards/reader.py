"""Reading the undecoded samples of shards, and splitting them between processes."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any, BinaryIO, Protocol, TypeVar, cast

from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.errors import ShardError

T = TypeVar("T")

BLOCK = 1 << 16

RawSample = dict[str, Any]
"""A sample as in webdataset: ``__key__``, ``__url__`` and files by extension."""

NAME = re.compile(r"((?:.*/|)[^.]+)[.]([^/]*)")
"""Key and extension of a file; the key ends at the first dot behind the last slash."""

META = re.compile(r"__[^/]*__($|/)")
"""Start of the names of files that belong to no sample."""


@dataclass(frozen=True)
class ShardSplit:
    """One of several equal parts of some shards.

    Args:
        part: Number of the part, from 0.
        parts: Number of parts.
    """

    part: int = 0
    parts: int = 1

    def by_shard(self, shards: Sequence[Shard]) -> bool:
        """Return whether each part gets shards of its own; with fewer shards than parts, all read every shard."""
        return len(shards) >= self.parts

    def shards(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        """Return the shards to read."""
        return shards[self.part :: self.parts] if self.by_shard(shards) else shards

    def records(self, records: Iterable[T], shards: Sequence[Shard]) -> Iterator[T]:
        """Return those records of the shards read that belong to this part."""
        return iter(records) if self.by_shard(shards) else islice(records, self.part, None, self.parts)

    def count(self, shards: Sequence[Shard]) -> int:
        """Return the number of records of this part in one pass over the shards in this order."""
        if self.by_shard(shards):
            return sum(shard.records for shard in self.shards(shards))
        return len(range(self.part, sum(shard.records for shard in shards), self.parts))


def read_share(shard_set: ShardSet, shards: Sequence[Shard], share: ShardSplit) -> Iterator[RawSample]:
    """Read one part of the samples of some shards, in order.

    Args:
        shard_set: The set that the shards belong to.
        shards: The shards in the order to read them, the same for all parts.
        share: The part to read.

    Returns:
        The samples.

    Raises:
        ShardError: While reading, if a shard is missing, broken or holds another number of records than its manifest
            states.
    """
    samples = (sample for shard in share.shards(shards) for sample in read_shard(shard_set, shard))
    return share.records(samples, shards)


def read_shard(
    shard_set: ShardSet, shard: Shard, first: int = 0, last: int | None = None, digest: Digest | None = None
) -> Iterator[RawSample]:
    """Read the samples of one shard, or some that follow each other.

    Args:
        shard_set: The set that the shard belongs to.
        shard: The shard.
        first: Number of samples to pass over, which are not read from a file on disk.
        last: Number of the sample to stop before, so that nothing behind it is read; None to read the shard to its end.
        digest: Is fed with the bytes that are read, which are all unless samples are passed over; or None.

    Yields:
        The samples in order.

    Raises:
        ShardError: If it is missing, broken or holds another number of records than its manifest states.
    """
    location, found = shard_set.folder.location(shard.file), first
    part = last is not None and last < shard.records
    try:
        with shard_set.folder.open(shard) as file:
            stream = file if digest is None else DigestedStream(file, digest)
            for sample in read_samples(stream, location, first):
                found += 1
                yield sample if shard_set.members is None else shard_set.members.marked(sample)
                if part and found == last:
                    return
            # the zeros after the last record are part of the checksum of a remote shard
            while stream.read(BLOCK):
                pass
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise ShardError(shard_set.unreadable(shard, error)) from error
    if found != shard.records:
        held = f"at most {found}" if found == first > 0 else str(found)
        raise ShardError(
            f"{location}: the shard holds {held} records, its manifest says {shard.records}; {shard_set.folder.remedy}"
        )


class Digest(Protocol):
    """A checksum of ``hashlib``."""

    def update(self, data: bytes, /) -> None:
        """Go on with the next bytes."""


class DigestedStream:
    """A file that is read from its begin to its end, and feeds a checksum meanwhile.

    Args:
        file: The file.
        digest: The checksum.
    """

    def __init__(self, file: BinaryIO, digest: Digest) -> None:
        self.file = file
        self.digest = digest

    def seekable(self) -> bool:
        """Return that no byte can be passed over."""
        return False

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        data = self.file.read(size)
        self.digest.update(data)
        return data


def read_samples(stream: BinaryIO | DigestedStream, location: str, first: int = 0) -> Iterator[RawSample]:
    """Group the files of a tar into samples by webdataset's rules; the library itself would import PyTorch.

    Args:
        stream: The tar file.
        location: Its path or address.
        first: Number of samples to pass over.

    Raises:
        ValueError: If a file occurs twice in a sample.
    """
    sample: RawSample = {}
    passed, previous = -1, None
    # a tar that is read from its start is a stream, also on disk: its checksum and its end are then read as well
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:*" if first and stream.seekable() else "r|*") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # drops the headers read so far, which would accumulate
            name = NAME.fullmatch(member.name)
            if name is None or not member.isreg() or META.match(member.name):
                continue
            key, extension = name[1], name[2].lower()
            if key != previous:
                if sample:
                    yield sample
                sample, previous, passed = {}, key, passed + 1
            if passed < first:
                continue
            if extension in sample:
                raise ValueError(f"its file {member.name!r} occurs twice")
            content = tar.extractfile(member)
            assert content is not None, "regular files have content"
            sample = sample or {"__key__": key, "__url__": location}
            sample[extension] = content.read()
    if sample:
        yield sample
