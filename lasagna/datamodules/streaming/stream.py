"""What the workers of a loader yield: the samples of training without end, and one finite pass for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from torch.utils.data import IterableDataset

from lasagna.core.batch import Batch
from lasagna.core.processors import Processors
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.distributed import worker_index
from lasagna.datamodules.streaming.mixture import Mixture, Position, StreamConfig
from lasagna.datamodules.streaming.preparation import PreparedSample
from lasagna.datamodules.streaming.sample import SampleMaker


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
    """The samples of one process after some batches, without end.

    ``DataLoader`` takes batches from its workers in turn and starts with the first one. Each worker reads the streams
    of every such batch; the number of streams is a multiple of all workers, so that none needs one of another.

    Args:
        makers: One for each source.
        config: What the order depends on.
        began: Number of batches of the run before the streams began.
        taken: Number of batches over all processes that were taken since then.
        positions: Position of the streams after them; the others are at their beginning.
        rank: Rank of this process.
        world_size: Number of processes.
        workers: Number of workers of this process, at least 1.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        config: StreamConfig,
        *,
        began: int = 0,
        taken: int = 0,
        positions: Mapping[int, Position] | None = None,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 1,
    ) -> None:
        self.makers, self.config, self.began, self.taken = makers, config, began, taken
        self.positions = positions or {}
        self.rank, self.world_size, self.workers = rank, world_size, workers

    def __iter__(self) -> Iterator[PositionedSample]:
        """Yield this worker's samples, in complete batches."""
        mixtures = dict[int, Mixture]()
        first = self.taken + self.rank + self.world_size * worker_index()
        for batch in count(first, self.world_size * self.workers):
            stream = batch % self.config.streams
            if stream not in mixtures:
                mixtures[stream] = Mixture(
                    self.makers, self.config, began=self.began, stream=stream, position=self.positions.get(stream)
                )
            for _ in range(self.config.batch_size):
                sample = next(mixtures[stream])
                yield PositionedSample(sample, stream, mixtures[stream].position)
