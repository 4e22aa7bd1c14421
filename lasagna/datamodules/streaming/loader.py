"""Loaders of batches: one for training that can stop after any batch and resume exactly, one for evaluation.

They wrap a ``DataLoader`` instead of extending it: Lightning leaves other iterables alone, so it neither recreates them
nor replaces their samplers. The training loader starts when its first batch is requested, because Lightning creates the
iterator before it sets the epoch.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Self

import torch
from torch.utils.data import DataLoader

from lasagna.core.batch import Batch, StepCounts
from lasagna.core.processors import Processors
from lasagna.core.workers import serve_parent
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.distributed import rank_and_world_size
from lasagna.datamodules.streaming.mixture import StreamConfig
from lasagna.datamodules.streaming.progress import Progress, read_progress
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import none_used
from lasagna.datamodules.streaming.stream import (
    Collator,
    EvaluationStream,
    PositionedBatch,
    TrainingStream,
)
from lasagna.errors import RecordError


class TrainingLoader:
    """Batches of an endless mixture, cut into epochs; resumes exactly from a state.

    The streams, their shuffle buffers and the workers live over epochs.

    Args:
        makers: One for each source.
        config: What the order depends on.
        processors: The assistant's processors.
        batches: Number of batches in an epoch of each process.
        num_workers: Number of processes that prepare samples; 0 for none.
        keep_streams: Whether the number of streams is that of ``config`` also after a state with another number.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.
        fixed: Whether every epoch has the batches of the first one, for runs that overfit a few batches.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        config: StreamConfig,
        processors: Processors,
        *,
        batches: int,
        num_workers: int = 0,
        keep_streams: bool = False,
        pin_memory: bool = False,
        fixed: bool = False,
    ) -> None:
        self.makers, self.config, self.fixed, self.keep_streams = makers, config, fixed, keep_streams
        self.num_workers = num_workers
        self._load = partial(
            DataLoader[Any],
            batch_size=config.batch_size,
            worker_init_fn=serve_parent,
            collate_fn=Collator(processors),
            pin_memory=pin_memory,
        )
        self._epoch, self._batches = 0, batches
        self._batches_per_step, self._limit = 1, batches
        self._streams = config.streams
        self._progress: Progress | None = None
        self._resumed: Progress | None = None
        self._start = Progress()
        self._loaded: Iterator[PositionedBatch] | None = None
        self._waiting = deque[PositionedBatch]()

    @property
    def sampler(self) -> Self:
        """The loader itself, on which Lightning calls ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; one that has started is not affected."""
        self._epoch = epoch

    def set_steps(self, batches: int, limit: int) -> None:
        """Set how many batches each optimiser step takes, so that each batch knows what its step holds.

        The batches of a step are loaded before the first one is yielded.

        Args:
            batches: Batches whose gradients are accumulated.
            limit: Batches of an epoch after which the trainer stops; its last step may have fewer batches.
        """
        self._batches_per_step, self._limit = batches, min(limit, self._batches)

    def __len__(self) -> int:
        """Return the number of batches in a full epoch."""
        return self._batches

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch; after ``load_state_dict`` with a state of this epoch, the remaining ones."""
        progress = self._progress = self._start = self._enter(self._epoch)
        while size := self._left_of_step(progress.batches):
            for positioned in self._step(size, progress):
                if self._waiting:  # not after ``close``
                    self._waiting.popleft()
                progress = self._progress = progress.after(positioned)
                yield positioned.batch

    def close(self) -> None:
        """End the workers; where batches are still asked for, others start and go on with the next one."""
        self._loaded = None
        self._waiting.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return how far the batches were consumed; in distributed training all processes must call this together."""
        return (self._resumed or self._progress or Progress()).state(self.config)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state in the next iteration.

        A stream with another config cannot be resumed exactly. A warning says so, and the rest of the epoch has as many
        batches as it would have had, but from streams that begin anew.

        Args:
            state: What ``state_dict`` returned.
        """
        wanted = replace(self.config, streams=self._streams)
        progress, streams, difference = read_progress(state, wanted, keep_streams=self.keep_streams)
        self.config = replace(wanted, streams=streams)
        self._resumed = replace(progress, batches=min(progress.batches, len(self)))
        if difference:
            warnings.warn(f"the stream cannot be resumed exactly: {difference}", stacklevel=2)
        if self._workers < self.num_workers:
            warnings.warn(
                f"the checkpoint has {streams} streams of samples, of which {self._workers} of {self.num_workers} "
                "workers take as many each; the others wait until the epoch ends, when the streams begin anew",
                stacklevel=2,
            )

    @property
    def _workers(self) -> int:
        """Number of workers that read, each of them as many streams as the others; 1 without workers."""
        streams = self.config.streams // rank_and_world_size()[1]
        return max(count for count in range(1, max(1, self.num_workers) + 1) if streams % count == 0)

    def _enter(self, epoch: int) -> Progress:
        """Return the progress at the first batch of an iteration."""
        resumed, self._resumed = self._resumed, None
        before = resumed or self._progress
        continues = before is not None and before.epoch + 1 == epoch and not self.fixed
        if before is not None and continues and self._workers == max(1, self.num_workers):
            return before.next_epoch()
        self.close()
        if before is not None and before.epoch == epoch:
            return resumed or self._start
        self.config = replace(self.config, streams=self._streams)
        if before is not None and continues:
            return before.anew(epoch)
        return Progress(0 if self.fixed else epoch * self._batches * rank_and_world_size()[1], epoch)

    def _step(self, size: int, progress: Progress) -> list[PositionedBatch]:
        """Return the next batches, which belong to one optimiser step and stay in the queue."""
        if self._loaded is None:
            self._loaded = iter(self._open(progress))
        while len(self._waiting) < size:
            self._waiting.append(next(self._loaded))
        step = list(islice(self._waiting, size))
        apart, objects = map(sum, zip(*(positioned.batch.object_counts for positioned in step), strict=True))
        counts = StepCounts(
            tokens=sum(int(positioned.batch.supervised.sum()) for positioned in step),
            masks=sum(len(positioned.batch.mask_rows) for positioned in step),
            divisor=self._batches_per_step,
            apart=apart,
            objects=objects,
            names=sum(positioned.batch.decided_names for positioned in step),
        )
        for positioned in step:
            positioned.batch.step = counts
        return step

    def _open(self, progress: Progress) -> DataLoader[Any]:
        rank, world_size = rank_and_world_size()
        stream = TrainingStream(
            self.makers,
            self.config,
            began=progress.began,
            taken=progress.taken,
            positions=progress.positions,
            rank=rank,
            world_size=world_size,
            workers=self._workers,
        )
        workers = self._workers if self.num_workers else 0
        return self._load(stream, num_workers=workers, generator=_own_generator())

    def _left_of_step(self, done: int) -> int:
        """Return how many batches the current optimiser step still takes; 0 at the end of the epoch."""
        left = self._batches_per_step - done % self._batches_per_step
        return min(left, (self._limit if done < self._limit else self._batches) - done)


class EvaluationLoader:
    """Batches of one source, with each record once over all processes and workers.

    Args:
        maker: Makes samples of the records.
        batch_size: Images in a batch.
        num_workers: Number of processes that prepare samples; 0 for none.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.
    """

    def __init__(self, maker: SampleMaker, *, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> None:
        self.maker = maker
        self.batch_size = batch_size
        rank, world_size = rank_and_world_size()
        self.stream = EvaluationStream(maker, rank, world_size, max(1, num_workers))
        self._load = partial(
            DataLoader[Any],
            batch_size=batch_size,
            num_workers=num_workers,
            worker_init_fn=serve_parent,
            collate_fn=partial(collate, processors=maker.processors),
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        """Return the number of batches of this process if no record is skipped."""
        shards = self.maker.source.shard_set.shards
        shares = [self.stream.share(worker).count(shards) for worker in range(self.stream.workers)]
        return sum(math.ceil(share / self.batch_size) for share in shares)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches.

        Raises:
            RecordError: If a pass in a single process gave no sample; with several processes, some may have no share.
        """
        before = self._counts()
        yield from self._load(self.stream, generator=_own_generator())
        passed = {name: count - before[name] for name, count in self._counts().items()}
        if self.stream.world_size == 1 and not passed["used"]:
            raise RecordError(none_used(self.maker.source.label, passed, self.maker.source.task))

    def _counts(self) -> dict[str, int]:
        return self.maker.tally.counts()[self.maker.source.label]


def _own_generator() -> torch.Generator:
    """Return a generator for ``DataLoader``, which would otherwise advance the global one."""
    return torch.Generator().manual_seed(0)
