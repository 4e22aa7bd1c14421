"""Loaders of batches: one for training that can stop after any batch and resume exactly, one for evaluation.

They wrap a ``DataLoader`` instead of extending it: Lightning leaves other iterables alone, so it neither recreates them
nor replaces their samplers. The training loader starts when its first batch is requested, because Lightning creates the
iterator before it sets the epoch.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any, Self

import torch
from torch.utils.data import DataLoader

from lasagna.core.batch import Batch, StepCounts
from lasagna.core.processors import Processors
from lasagna.core.workers import serve_parent
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.distributed import gather, rank_and_world_size
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.stream import (
    Collator,
    EvaluationStream,
    Position,
    PositionedBatch,
    StreamConfig,
    TrainingStream,
    start_positions,
)
from lasagna.errors import RecordError


@dataclass(frozen=True)
class Progress:
    """How far the batches of an epoch were consumed.

    Args:
        epoch: Number of the epoch.
        batches: Number of its batches that were consumed; those that wait in a worker do not count.
        positions: Position of each stream after them.
    """

    epoch: int
    batches: int
    positions: tuple[Position, ...]

    def after(self, batch: PositionedBatch) -> Progress:
        """Return the progress after another batch."""
        positions = list(self.positions)
        positions[batch.stream] = batch.position
        return Progress(self.epoch, self.batches + 1, tuple(positions))


class TrainingLoader:
    """Batches of an endless mixture, cut into epochs; resumes exactly from a state.

    Args:
        makers: One for each source.
        config: What the order depends on.
        processors: The assistant's processors.
        num_workers: Number of processes that prepare samples; 0 for none.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.
        fixed: Whether every epoch has the batches of the first one, for runs that overfit a few batches.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        config: StreamConfig,
        processors: Processors,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        fixed: bool = False,
    ) -> None:
        self.makers, self.config, self.fixed = makers, config, fixed
        self._load = partial(
            DataLoader[Any],
            batch_size=config.batch_size,
            num_workers=num_workers,
            worker_init_fn=serve_parent,
            collate_fn=Collator(processors),
            pin_memory=pin_memory,
        )
        self._epoch = 0
        self._batches_per_step = 1
        self._limit = config.batches
        self._progress = Progress(0, 0, start_positions(config))
        self._resumed: Progress | None = None

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
        self._batches_per_step, self._limit = batches, min(limit, self.config.batches)

    def __len__(self) -> int:
        """Return the number of batches in a full epoch."""
        return self.config.batches

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch; after ``load_state_dict`` with a state of this epoch, the remaining ones."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and resumed.epoch == self._epoch:
            self._progress = resumed
        else:
            self._progress = Progress(self._epoch, 0, start_positions(self.config))
        stream = TrainingStream(
            self.makers,
            self.config,
            epoch=0 if self.fixed else self._progress.epoch,
            done=self._progress.batches,
            positions=self._progress.positions,
            rank=rank_and_world_size()[0],
        )
        loaded = iter(self._load(stream, generator=_own_generator()))
        while step := list(islice(loaded, self._left_of_step())):
            apart, objects = map(sum, zip(*(positioned.batch.object_counts for positioned in step), strict=True))
            counts = StepCounts(
                tokens=sum(int(positioned.batch.supervised.sum()) for positioned in step),
                masks=sum(len(positioned.batch.mask_rows) for positioned in step),
                divisor=self._batches_per_step,
                apart=apart,
                objects=objects,
            )
            for positioned in step:
                self._progress = self._progress.after(positioned)
                positioned.batch.step = counts
                yield positioned.batch

    def _left_of_step(self) -> int:
        """Return how many batches the current optimiser step still takes."""
        done = self._progress.batches
        left = self._batches_per_step - done % self._batches_per_step
        return min(left, self._limit - done) if done < self._limit else left

    def state_dict(self) -> dict[str, Any]:
        """Return how far the batches were consumed; in distributed training all processes must call this together."""
        progress = self._resumed or self._progress
        return {
            "epoch": progress.epoch,
            "batches": progress.batches,
            "positions": gather([list(position) for position in progress.positions]),
            "layout": asdict(self.config),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state in the next iteration.

        A stream with another config cannot be resumed exactly. A warning says so, and the rest of the epoch has as many
        batches as it would have had, but from the beginning of the streams.

        Args:
            state: What ``state_dict`` returned.
        """
        changed = [
            f"{name} was {state['layout'].get(name)}, is {value}"
            for name, value in asdict(self.config).items()
            if state["layout"].get(name) != value
        ]
        if changed:
            warnings.warn(
                f"the stream cannot be resumed exactly: {'; '.join(changed)}. The rest of the epoch has other samples",
                stacklevel=2,
            )
        if changed:
            positions = start_positions(self.config)
        else:
            positions = tuple(map(tuple, state["positions"][rank_and_world_size()[0]]))
        self._resumed = Progress(state["epoch"], min(state["batches"], len(self)), positions)


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
            raise RecordError(
                f"source {self.maker.source.label}: none of its {passed['read']} records could be used; "
                f"{passed['broken']} were broken, {passed['empty']} have nothing for its task "
                f"{type(self.maker.source.task).__name__}; choose another task, repair the data or remove the source"
            )

    def _counts(self) -> dict[str, int]:
        return self.maker.tally.counts()[self.maker.source.label]


def _own_generator() -> torch.Generator:
    """Return a generator for ``DataLoader``, which would otherwise advance the global one."""
    return torch.Generator().manual_seed(0)
