"""Loaders of batches: one for training that can stop after any batch and go on exactly, one for evaluation.

They wrap a ``DataLoader`` rather than extend one: Lightning leaves other iterables as they are, so it neither creates
them again nor guesses at samplers. The training loader starts when its first batch is asked for, since Lightning makes
the iterator before it says which epoch it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Self

import torch
from torch.utils.data import DataLoader

from lasagna.core.batch import Batch
from lasagna.core.processors import Processors
from lasagna.datamodules.shards.reader import node
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.stream import (
    Collator,
    EvaluationStream,
    Position,
    PositionedBatch,
    StreamConfig,
    TrainingStream,
    beginning,
)
from lasagna.errors import RecordError


@dataclass(frozen=True)
class Progress:
    """How far the consumer of the batches came.

    Args:
        epoch: Number of the epoch.
        batches: How many of its batches were consumed; those that wait in a worker do not count.
        positions: Where each stream stands after them.
    """

    epoch: int
    batches: int
    positions: tuple[Position, ...]

    def after(self, parcel: PositionedBatch) -> Progress:
        """Return the progress once a parcel was consumed."""
        positions = list(self.positions)
        positions[parcel.stream] = parcel.position
        return Progress(self.epoch, self.batches + 1, tuple(positions))


class TrainingLoader:
    """Batches of an endless mixture, cut to epochs; goes on exactly from a state.

    Args:
        makers: One for each source.
        layout: What the order depends on.
        processors: How the assistant wants images and text.
        num_workers: How many processes prepare samples; 0 for none.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        layout: StreamConfig,
        processors: Processors,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.makers, self.layout = makers, layout
        self._load = partial(
            DataLoader[Any],
            batch_size=layout.batch_size,
            num_workers=num_workers,
            collate_fn=Collator(processors),
            pin_memory=pin_memory,
        )
        self._epoch = 0
        self._progress = Progress(0, 0, beginning(layout))
        self._resumed: Progress | None = None

    @property
    def sampler(self) -> Self:
        """Whom Lightning tells the number of each epoch, through ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is; one that has begun goes on as it is."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches in a whole epoch."""
        return self.layout.batches

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the epoch; after ``load_state_dict``, and in its epoch, those that are left."""
        self._progress = self._start()
        stream = TrainingStream(
            self.makers,
            self.layout,
            epoch=self._progress.epoch,
            done=self._progress.batches,
            positions=self._progress.positions,
            rank=node()[0],
        )
        for parcel in self._load(stream, generator=_own_generator()):
            self._progress = self._progress.after(parcel)
            yield parcel.batch

    def state_dict(self) -> dict[str, Any]:
        """Return how far the consumer came; in distributed training all processes must call this together."""
        progress = self._resumed or self._progress
        return {
            "epoch": progress.epoch,
            "batches": progress.batches,
            "positions": _gather([list(position) for position in progress.positions]),
            "layout": asdict(self.layout),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state in the next iteration.

        Where the stream was laid out otherwise, its rest cannot be the same: a warning says so, and the rest of the
        epoch then has as many batches as it would have had, from the beginning of the streams.
        """
        changed = [
            f"{name} was {state['layout'].get(name)}, is {value}"
            for name, value in asdict(self.layout).items()
            if state["layout"].get(name) != value
        ]
        if changed:
            warnings.warn(
                f"the stream cannot go on exactly: {'; '.join(changed)}. The rest of the epoch has other samples",
                stacklevel=2,
            )
        positions = beginning(self.layout) if changed else tuple(map(tuple, state["positions"][node()[0]]))
        self._resumed = Progress(state["epoch"], min(state["batches"], len(self)), positions)

    def _start(self) -> Progress:
        resumed, self._resumed = self._resumed, None
        if resumed is not None and resumed.epoch == self._epoch:
            return resumed
        return Progress(self._epoch, 0, beginning(self.layout))


class EvaluationLoader:
    """Batches of one source, each record once over all nodes and workers.

    Args:
        maker: Makes samples of the records.
        batch_size: Images in a batch.
        num_workers: How many processes prepare samples; 0 for none.
        pin_memory: Whether to put batches into page-locked memory, for transfers to a GPU.
    """

    def __init__(self, maker: SampleMaker, *, batch_size: int, num_workers: int = 0, pin_memory: bool = False) -> None:
        self.maker = maker
        self.batch_size = batch_size
        rank, world_size = node()
        self.stream = EvaluationStream(maker, rank, world_size, max(1, num_workers))
        self._load = partial(
            DataLoader[Any],
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=partial(collate, processors=maker.processors),
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        """Return the number of batches of this process, if no record is left out."""
        shards = self.maker.source.shard_set.shards
        shares = [self.stream.share(worker).count(shards) for worker in range(self.stream.workers)]
        return sum(math.ceil(share / self.batch_size) for share in shares)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches.

        Raises:
            RecordError: If a whole pass in one process gave nothing; of several processes, some may have no share.
        """
        before = self._counts()
        yield from self._load(self.stream, generator=_own_generator())
        passed = {name: count - before[name] for name, count in self._counts().items()}
        if self.stream.world_size == 1 and not passed["used"]:
            raise RecordError(
                f"source {self.maker.source.label}: none of its {passed['read']} records could be used; "
                f"{passed['broken']} were broken, {passed['empty']} have nothing for its task "
                f"{type(self.maker.source.task).__name__}. Choose another task, repair the data or take the source away"
            )

    def _counts(self) -> dict[str, int]:
        return self.maker.tally.counts()[self.maker.source.label]


def _own_generator() -> torch.Generator:
    """Return a generator for ``DataLoader``, which would draw from the global one else and so change what follows."""
    return torch.Generator().manual_seed(0)


def _gather(positions: list[list[int]]) -> list[list[list[int]]]:
    """Return the positions of all processes by rank."""
    if node()[1] == 1:
        return [positions]
    gathered: list[list[list[int]]] = [[] for _ in range(node()[1])]
    torch.distributed.all_gather_object(gathered, positions)
    return gathered
