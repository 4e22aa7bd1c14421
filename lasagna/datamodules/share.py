"""Which part of a source belongs to which worker of which node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import torch
from webdataset.utils import pytorch_worker_info

from lasagna.datamodules.shard_folder import Shard

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
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
