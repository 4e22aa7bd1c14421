"""Streams of prepared samples: an endless weighted mixture for training, one finite pass for evaluation.

Samples are shuffled before they are decoded. All randomness is a function of the seed, the epoch, the source's name,
the number of the pass over it, and either the record's key or the share that is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from random import Random

import numpy as np
import webdataset
from torch.utils.data import IterableDataset

from lasagna.core.batch import Batch
from lasagna.core.processors import Processors
from lasagna.core.seeding import generator
from lasagna.datamodules.shards.reader import RawSample, ShardSplit, read_share
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.distributed import worker_index
from lasagna.datamodules.streaming.preparation import PreparedSample
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.errors import RecordError

FRUITLESS_PASSES = 3
"""Number of passes over a source without a single dialogue after which a run stops."""

Position = tuple[int, ...]
"""Position of a worker's mixture: the number of samples yielded, then the number of records drawn from each source."""


class EndlessSource(Iterator[PreparedSample]):
    """One worker's samples of a source, in endless passes, each in another order.

    Args:
        maker: Makes samples of the records.
        seed: Seed of the run.
        epoch: Number of the epoch.
        share: The part of the records to read.
        buffer: Size of the shuffle buffer in records.
        drawn: Number of records to skip at the start, undecoded.
    """

    def __init__(
        self, maker: SampleMaker, *, seed: int, epoch: int, share: ShardSplit, buffer: int, drawn: int = 0
    ) -> None:
        self.maker, self.seed, self.epoch, self.buffer = maker, seed, epoch, buffer
        # with fewer records than workers, each worker reads all of them, because some would have none otherwise
        self.share = share if maker.source.shard_set.records >= share.parts else ShardSplit()
        self.key = f"{share.part}/{share.parts}"
        self.drawn = drawn
        self._raw = islice(self._passes(), drawn, None)
        self._fruitful: int | None = None

    def __next__(self) -> PreparedSample:
        """Return the next sample; records that give none are skipped.

        Raises:
            RecordError: If several passes gave no sample, or a record cannot be used and none may be skipped.
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
            if self.buffer > 1:
                order_in_buffer = Random(int(rng.integers(1 << 62)))
                shuffle = webdataset.filters.shuffle(bufsize=self.buffer, initial=self.buffer, rng=order_in_buffer)
                samples = iter(shuffle(samples))
            for raw in samples:
                yield visit, raw


class Mixture(Iterator[PreparedSample]):
    """One worker's endless mixture of sources in proportion to their weights.

    Args:
        makers: One for each source.
        seed: Seed of the run.
        epoch: Number of the epoch.
        share: The part of the records to read.
        buffer: Size of each source's shuffle buffer in records.
        position: Where to start; None for the beginning.
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
        """Position of the mixture after the last sample that it yielded."""
        return self.given, *(source.drawn for source in self.sources)

    def __next__(self) -> PreparedSample:
        """Return the next sample, from a source drawn in proportion to the weights."""
        drawn = int(np.searchsorted(self._bounds, self._rng.random(), side="right"))
        sample = next(self.sources[min(drawn, len(self.sources) - 1)])
        self.given += 1
        return sample


@dataclass(frozen=True)
class EvaluationStream(IterableDataset[PreparedSample]):
    """Each record of a source once, over all processes and workers.

    Args:
        maker: Makes samples of the records.
        rank: Rank of this process.
        world_size: Number of processes.
        workers: Number of workers of this process.
    """

    maker: SampleMaker
    rank: int = 0
    world_size: int = 1
    workers: int = 1

    def share(self, worker: int) -> ShardSplit:
        """Return the part of a worker: split by process first and then by worker, as webdataset does."""
        return ShardSplit(self.rank + self.world_size * worker, self.world_size * self.workers)

    def __iter__(self) -> Iterator[PreparedSample]:
        """Yield the samples of this worker's part; records that give none are skipped."""
        shard_set = self.maker.source.shard_set
        for raw in read_share(shard_set, shard_set.shards, self.share(worker_index())):
            sample = self.maker(raw)
            if sample is not None:
                yield sample


@dataclass(frozen=True)
class StreamConfig:
    """Everything except the data that the order of a training stream depends on.

    Args:
        seed: Seed of the run.
        batch_size: Images in a batch.
        batches: Batches in an epoch of each process.
        shuffle_buffer: Size of each source's shuffle buffer in records.
        workers: Number of streams that a process reads in turn: one per worker, or 1 without workers.
        world_size: Number of processes.
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
    """A sample, the number of its stream, and the stream's position after it."""

    sample: PreparedSample
    stream: int
    position: Position


@dataclass
class PositionedBatch:
    """A batch, the number of its stream, and the stream's position after it."""

    batch: Batch
    stream: int
    position: Position

    def pin_memory(self) -> PositionedBatch:
        """Return a copy whose batch is in page-locked memory; ``DataLoader`` calls this."""
        return PositionedBatch(self.batch.pin_memory(), self.stream, self.position)


@dataclass(frozen=True)
class Collator:
    """Collates samples that carry positions; picklable, for workers.

    Args:
        processors: The assistant's processors.
    """

    processors: Processors

    def __call__(self, samples: Sequence[PositionedSample]) -> PositionedBatch:
        """Return the samples of one stream as a batch, with the position after the last one."""
        batch = collate([item.sample for item in samples], self.processors)
        return PositionedBatch(batch, samples[-1].stream, samples[-1].position)


class TrainingStream(IterableDataset[PositionedSample]):
    """The rest of an epoch after some batches.

    An epoch has one stream per worker, and batch k comes from stream k mod the number of workers. ``DataLoader`` always
    starts with its first worker, so after k batches worker i reads stream i + k.

    Args:
        makers: One for each source.
        config: What the order depends on.
        epoch: Number of the epoch.
        done: Number of its batches that were consumed.
        positions: Position of each stream after them; None for the beginning.
        rank: Rank of this process.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        config: StreamConfig,
        *,
        epoch: int,
        done: int = 0,
        positions: Sequence[Position] | None = None,
        rank: int = 0,
    ) -> None:
        self.makers, self.config, self.epoch, self.done, self.rank = makers, config, epoch, done, rank
        self.positions = positions or start_positions(config)

    def __iter__(self) -> Iterator[PositionedSample]:
        """Yield this worker's samples, in complete batches."""
        config, worker = self.config, worker_index()
        stream = (worker + self.done) % config.workers
        mixture = Mixture(
            self.makers,
            seed=config.seed,
            epoch=self.epoch,
            share=ShardSplit(self.rank + config.world_size * stream, config.world_size * config.workers),
            buffer=config.shuffle_buffer,
            position=self.positions[stream],
        )
        for _ in range(self.done + worker, config.batches, config.workers):
            for _ in range(config.batch_size):
                sample = next(mixture)
                yield PositionedSample(sample, stream, mixture.position)


def start_positions(config: StreamConfig) -> tuple[Position, ...]:
    """Return the positions of the streams at the start of an epoch."""
    return ((0,) * (1 + len(config.sources)),) * config.workers
