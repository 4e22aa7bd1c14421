"""Reading the samples of shards through webdataset, undecoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from tarfile import TarError
from typing import Any, BinaryIO, TypeVar

import numpy as np
import torch
import webdataset
from webdataset.utils import pytorch_worker_info

from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.errors import ShardError

T = TypeVar("T")


@dataclass(frozen=True)
class ShardSplit:
    """One of several equal parts.

    Args:
        part: Which part it is, counted from 0.
        parts: How many parts there are.
    """

    part: int = 0
    parts: int = 1

    def by_shard(self, shards: Sequence[Shard]) -> bool:
        """Whether there are enough shards to split them; fewer are read by everybody, each taking some records."""
        return len(shards) >= self.parts

    def shards(self, shards: Sequence[Shard]) -> Sequence[Shard]:
        """Return the shards to read."""
        return shards[self.part :: self.parts] if self.by_shard(shards) else shards

    def records(self, records: Iterable[T], shards: Sequence[Shard]) -> Iterator[T]:
        """Return the records to take of those that were read."""
        return iter(records) if self.by_shard(shards) else islice(records, self.part, None, self.parts)

    def count(self, shards: Sequence[Shard]) -> int:
        """Return how many records belong to this part in one pass over the shards in this order."""
        if self.by_shard(shards):
            return sum(shard.records for shard in self.shards(shards))
        return len(range(self.part, sum(shard.records for shard in shards), self.parts))


def node() -> tuple[int, int]:
    """Return the rank of this process and how many there are, as webdataset finds them."""
    rank, world_size, _, _ = pytorch_worker_info()
    return rank, world_size


def gathered(counts: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the sums of counts by source over all processes, which must call this together."""
    if node()[1] == 1:
        return counts
    parts: list[dict[str, dict[str, int]]] = [{} for _ in range(node()[1])]
    torch.distributed.all_gather_object(parts, counts)
    return {
        source: {name: sum(part[source][name] for part in parts) for name in count} for source, count in counts.items()
    }


def worker() -> int:
    """Return which worker of the data loader this process is; 0 where there are none."""
    return int(pytorch_worker_info()[2])


BLOCK = 1 << 16

RawSample = dict[str, Any]


def read_share(shard_set: ShardSet, shards: Sequence[Shard], share: ShardSplit) -> Iterator[RawSample]:
    """Read a part of the samples of some shards, in order.

    Args:
        shard_set: Where the shards are.
        shards: The shards in the order to read them, the same for all parts.
        share: The part to read.

    Yields:
        Samples as webdataset has them: files by extension, ``__key__`` and ``__url__``.

    Raises:
        ShardError: If a shard is missing, broken or holds another number of records than its manifest says.
    """
    samples = (sample for shard in share.shards(shards) for sample in read_shard(shard_set, shard))
    return share.records(samples, shards)


def read_shard(shard_set: ShardSet, shard: Shard) -> Iterator[RawSample]:
    """Read the samples of one shard.

    Raises:
        ShardError: If it is missing, broken or holds another number of records than its manifest says.
    """
    place, found = shard_set.folder.place(shard.file), 0
    try:
        with shard_set.folder.open(shard) as stream:
            files = webdataset.tariterators.tar_file_expander([{"url": place, "stream": stream}])
            for sample in webdataset.tariterators.group_by_keys(files):
                found += 1
                yield sample
            _read_to_end(stream)
    except (OSError, TarError, EOFError, ValueError) as error:
        raise ShardError(shard_set.unreadable(shard, error)) from error
    if found != shard.records:
        raise ShardError(
            f"{place}: the shard holds {found} records, its manifest says {shard.records}; {shard_set.folder.way_out}"
        )


def shuffled(samples: Iterator[RawSample], buffer: int, rng: np.random.Generator) -> Iterator[RawSample]:
    """Shuffle samples through a buffer.

    Args:
        samples: The samples.
        buffer: How many samples are held at a time; 1 or less leaves the order.
        rng: Where the order comes from.
    """
    if buffer <= 1:
        return samples
    order = Random(int(rng.integers(1 << 62)))
    return iter(webdataset.filters.shuffle(bufsize=buffer, initial=buffer, rng=order)(samples))


def _read_to_end(stream: BinaryIO) -> None:
    # what comes after the last record is nothing but zeros, and a part of what a checksum is made of
    while stream.read(BLOCK):
        pass
