"""Streams of prepared samples: an endless weighted mixture for training, one finite pass for evaluation.

Samples are decoded after they were shuffled. All randomness is a function of the seed, the epoch, the source's name,
the number of the pass over it and either the record's key or the share that is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from torch.utils.data import IterableDataset

from lasagna.core.batch import Batch
from lasagna.core.processors import Processors
from lasagna.core.seeding import generator
from lasagna.datamodules.shards.reader import RawSample, ShardSplit, read_share, shuffled, worker
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.sample import PreparedSample, SampleMaker
from lasagna.errors import RecordError

FRUITLESS_PASSES = 3

Position = tuple[int, ...]
"""Where a worker's mixture stands: samples given, then records drawn from each source."""


class EndlessSource(Iterator[PreparedSample]):
    """One worker's samples of a source, pass after pass, each in another order.

    Args:
        maker: Makes samples of the records.
        seed: Seed of the run.
        epoch: Number of the epoch.
        share: The part of the records to read.
        buffer: How many records the shuffle holds at a time.
        drawn: How many records to pass over at the start, undecoded.
    """

    def __init__(
        self, maker: SampleMaker, *, seed: int, epoch: int, share: ShardSplit, buffer: int, drawn: int = 0
    ) -> None:
        self.maker, self.seed, self.epoch, self.buffer = maker, seed, epoch, buffer
        # with fewer records than workers everybody reads all of them, or some would have none
        self.share = share if maker.source.shard_set.records >= share.parts else ShardSplit()
        self.key = f"{share.part}/{share.parts}"
        self.drawn = drawn
        self._raw = islice(self._passes(), drawn, None)
        self._fruitful: int | None = None

    def __next__(self) -> PreparedSample:
        """Return the next sample; records that are left out are passed over.

        Raises:
            RecordError: If several passes gave nothing, or as the maker does.
        """
        for visit, raw in self._raw:
            self.drawn += 1
            self._fruitful = visit if self._fruitful is None else self._fruitful
            sample = self.maker(raw, self.epoch, visit)
            if sample is not None:
                self._fruitful = visit
                return sample
            if visit - self._fruitful >= FRUITLESS_PASSES:
                break
        raise RecordError(
            f"source {self.maker.source.label}: {FRUITLESS_PASSES} passes over its records gave no dialogue; "
            f"{self.maker.tally.broken or 'none'} were broken, the others have nothing for this task"
        )

    def _passes(self) -> Iterator[tuple[int, RawSample]]:
        shard_set, label = self.maker.source.shard_set, self.maker.source.label
        for visit in count():
            order = generator(self.seed, self.epoch, f"{label}/shards/{visit}").permutation(len(shard_set.shards))
            samples = read_share(shard_set, [shard_set.shards[place] for place in order], self.share)
            rng = generator(self.seed, self.epoch, f"{label}/buffer/{visit}/{self.key}")
            for raw in shuffled(samples, self.buffer, rng):
                yield visit, raw


class Mixture(Iterator[PreparedSample]):
    """One worker's endless mixture of sources in proportion to their weights.

    Args:
        makers: One for each source.
        seed: Seed of the run.
        epoch: Number of the epoch.
        share: The part of the records to read.
        buffer: How many records each source's shuffle holds at a time.
        position: Where to start.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        *,
        seed: int,
        epoch: int,
        share: ShardSplit,
        buffer: int,
        position: Position | None = None,
    ) -> None:
        self.given, *drawn = position or (0,) * (1 + len(makers))
        self.sources = [
            EndlessSource(maker, seed=seed, epoch=epoch, share=share, buffer=buffer, drawn=start)
            for maker, start in zip(makers, drawn, strict=True)
        ]
        weights = np.array([maker.source.weight for maker in makers])
        self._bounds = np.cumsum(weights) / weights.sum()
        self._rng = generator(seed, epoch, f"mixture/{share.part}/{share.parts}")
        self._rng.random(self.given)

    @property
    def position(self) -> Position:
        """Where the mixture stands, after the last sample that it gave."""
        return self.given, *(source.drawn for source in self.sources)

    def __next__(self) -> PreparedSample:
        """Return the next sample of the source whose turn it is."""
        turn = int(np.searchsorted(self._bounds, self._rng.random(), side="right"))
        sample = next(self.sources[min(turn, len(self.sources) - 1)])
        self.given += 1
        return sample


@dataclass(frozen=True)
class EvaluationStream(IterableDataset[PreparedSample]):
    """Every record of a source once, over all nodes and workers.

    Args:
        maker: Makes samples of the records.
        rank: Rank of this process.
        world_size: How many processes there are.
        workers: How many workers this process has.
    """

    maker: SampleMaker
    rank: int = 0
    world_size: int = 1
    workers: int = 1

    def share(self, worker: int) -> ShardSplit:
        """Return the part of a worker, as webdataset splits: by node, then by worker."""
        return ShardSplit(self.rank + self.world_size * worker, self.world_size * self.workers)

    def __iter__(self) -> Iterator[PreparedSample]:
        """Yield the samples of this worker's part; records that are left out are passed over."""
        shard_set = self.maker.source.shard_set
        for raw in read_share(shard_set, shard_set.shards, self.share(worker())):
            sample = self.maker(raw)
            if sample is not None:
                yield sample


@dataclass(frozen=True)
class StreamConfig:
    """All that the order of a training stream depends on besides the data.

    Args:
        seed: Seed of the run.
        batch_size: Images in a batch.
        batches: Batches in an epoch, of each process.
        shuffle_buffer: How many records each source's shuffle holds at a time.
        workers: How many streams a process reads in turn: its workers, or 1 without any.
        world_size: How many processes there are.
        sources: Names and weights of the sources.
    """

    seed: int
    batch_size: int
    batches: int
    shuffle_buffer: int
    workers: int
    world_size: int
    sources: dict[str, float]


@dataclass(frozen=True)
class PositionedSample:
    """A sample, which stream it comes from and where that one stands after it."""

    sample: PreparedSample
    stream: int
    position: Position


@dataclass
class PositionedBatch:
    """A batch, which stream it comes from and where that one stands after it."""

    batch: Batch
    stream: int
    position: Position

    def pin_memory(self) -> PositionedBatch:
        """Return the parcel with its batch in page-locked memory, as ``DataLoader`` asks for."""
        return PositionedBatch(self.batch.pin_memory(), self.stream, self.position)


@dataclass(frozen=True)
class Collator:
    """Makes parcels of drawn samples; safe to send to a worker.

    Args:
        processors: How the assistant wants images and text.
    """

    processors: Processors

    def __call__(self, drawn: Sequence[PositionedSample]) -> PositionedBatch:
        """Return the samples as one batch."""
        batch = collate([item.sample for item in drawn], self.processors)
        return PositionedBatch(batch, drawn[-1].stream, drawn[-1].position)


class TrainingStream(IterableDataset[PositionedSample]):
    """What is left of an epoch after some batches.

    An epoch has as many streams as workers, and batch k is stream k mod workers'. ``DataLoader`` always begins with its
    first worker, so after k batches worker i plays stream i + k.

    Args:
        makers: One for each source.
        layout: What the order depends on.
        epoch: Number of the epoch.
        done: How many of its batches were consumed.
        positions: Where each stream stands after them.
        rank: Rank of this process.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        layout: StreamConfig,
        *,
        epoch: int,
        done: int = 0,
        positions: Sequence[Position] | None = None,
        rank: int = 0,
    ) -> None:
        self.makers, self.layout, self.epoch, self.done, self.rank = makers, layout, epoch, done, rank
        self.positions = positions or beginning(layout)

    def __iter__(self) -> Iterator[PositionedSample]:
        """Yield this worker's samples, whole batches of them."""
        layout, place = self.layout, worker()
        stream = (place + self.done) % layout.workers
        mixture = Mixture(
            self.makers,
            seed=layout.seed,
            epoch=self.epoch,
            share=ShardSplit(self.rank + layout.world_size * stream, layout.world_size * layout.workers),
            buffer=layout.shuffle_buffer,
            position=self.positions[stream],
        )
        for _ in range(self.done + place, layout.batches, layout.workers):
            for _ in range(layout.batch_size):
                sample = next(mixture)
                yield PositionedSample(sample, stream, mixture.position)


def beginning(layout: StreamConfig) -> tuple[Position, ...]:
    """Return where the streams stand at the start of an epoch."""
    return ((0,) * (1 + len(layout.sources)),) * layout.workers
