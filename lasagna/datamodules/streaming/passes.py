"""The order in which several streams read the records of a source, pass after pass, each record once in a pass.

The shards of a pass are put into a random order, and their records are then divided equally: each stream reads a run of
records that follow each other, and a shard in which two runs meet is read by both. The streams therefore end their
passes after the same number of records, so that no record comes more often because its shard is short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np

from lasagna.core.seeding import generator
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import RawSample, ShardSplit, read_shard


@dataclass(frozen=True)
class ShardRun:
    """Records of a shard that follow each other.

    Args:
        shard: The shard.
        first: Number of the first record.
        last: Number of the record to stop before.
    """

    shard: Shard
    first: int
    last: int


@dataclass(frozen=True)
class Passes:
    """One stream's part of the endless passes over a source.

    Args:
        shard_set: The shards.
        label: Name of the source.
        seed: Seed of the run.
        began: Number of batches of the run before the streams began.
        split: Which of how many streams this is.
    """

    shard_set: ShardSet
    label: str
    seed: int
    began: int
    split: ShardSplit

    def count(self, visit: int) -> int:
        """Return the number of records of this stream in a pass; may be 0 with fewer records than streams."""
        first, last = self._bounds(visit)
        return last - first

    def runs(self, visit: int) -> list[ShardRun]:
        """Return the runs of records of this stream in a pass, in the order to read them.

        Args:
            visit: Number of the pass.
        """
        shards = self.shard_set.shards
        rng = self.generator(f"shards/{visit}")
        order = rng.permutation(len(shards))
        starts = np.cumsum([0, *(shards[place].records for place in order)])
        first, last = self._bounds(visit)
        # with few shards, the streams would otherwise read the same runs in each pass
        turn = int(rng.integers(starts[-1])) if len(shards) < self.split.parts else 0
        runs = []
        for low, high in _on_circle(first + turn, last + turn, int(starts[-1])):
            place = int(np.searchsorted(starts, low, side="right")) - 1
            while low < high:
                stop = min(high, int(starts[place + 1]))
                begin = int(starts[place])
                if low < stop:
                    runs.append(ShardRun(shards[order[place]], low - begin, stop - begin))
                low, place = stop, place + 1
        return runs

    def read(self, visit: int = 0, offset: int = 0) -> Iterator[tuple[int, int, RawSample]]:
        """Read records from a place on.

        Args:
            visit: Number of the pass to start in.
            offset: Number of records of this stream's part of that pass to pass over.

        Yields:
            The number of the pass, the number of the record in this stream's part of it, and the undecoded record.

        Raises:
            ShardError: If a shard is missing or broken.
        """
        for number in count(visit):
            index, skip = 0, offset if number == visit else 0
            for run in self.runs(number):
                size = run.last - run.first
                passed = min(size, max(0, skip - index))
                index += passed
                if passed == size:
                    continue
                for raw in read_shard(self.shard_set, run.shard, run.first + passed, run.last):
                    yield number, index, raw
                    index += 1

    def generator(self, key: str) -> np.random.Generator:
        """Return the generator of what belongs to this source and key, in the run and since the streams began."""
        return generator(self.seed, self.began, f"{self.label}/{key}")

    @cached_property
    def _records(self) -> int:
        return self.shard_set.records

    def _bounds(self, visit: int) -> tuple[int, int]:
        # with fewer records than streams, another stream goes without in each pass
        records, part, parts = self._records, self.split.part, self.split.parts
        slot = (part + visit) % parts
        return records * slot // parts, records * (slot + 1) // parts


def _on_circle(first: int, last: int, size: int) -> list[tuple[int, int]]:
    """Return the one or two parts of a range of less than a turn on a circle, each within 0 and its size."""
    if first >= size:
        return [(first - size, last - size)]
    return [(first, last)] if last <= size else [(first, size), (0, last - size)]
