"""The part of an epoch's training stream that is left, as a data set for ``DataLoader`` workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch.utils.data import IterableDataset

from lasagna.core.batch import Batch, Preparation
from lasagna.datamodules.collate import collate
from lasagna.datamodules.sample import PreparedSample
from lasagna.datamodules.sample_maker import SampleMaker
from lasagna.datamodules.shards.reader import Share, worker
from lasagna.datamodules.stream import Mixture, Position


@dataclass(frozen=True)
class Layout:
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
class Drawn:
    """A sample, which stream it comes from and where that one stands after it."""

    sample: PreparedSample
    stream: int
    position: Position


@dataclass
class Parcel:
    """A batch, which stream it comes from and where that one stands after it."""

    batch: Batch
    stream: int
    position: Position

    def pin_memory(self) -> Parcel:
        """Return the parcel with its batch in page-locked memory, as ``DataLoader`` asks for."""
        return Parcel(self.batch.pin_memory(), self.stream, self.position)


@dataclass(frozen=True)
class Pack:
    """Makes parcels of drawn samples; safe to send to a worker.

    Args:
        preparation: How the assistant wants images and text.
    """

    preparation: Preparation

    def __call__(self, drawn: Sequence[Drawn]) -> Parcel:
        """Return the samples as one batch."""
        batch = collate([item.sample for item in drawn], self.preparation)
        return Parcel(batch, drawn[-1].stream, drawn[-1].position)


class TrainingStream(IterableDataset[Drawn]):
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
        layout: Layout,
        *,
        epoch: int,
        done: int = 0,
        positions: Sequence[Position] | None = None,
        rank: int = 0,
    ) -> None:
        self.makers, self.layout, self.epoch, self.done, self.rank = makers, layout, epoch, done, rank
        self.positions = positions or beginning(layout)

    def __iter__(self) -> Iterator[Drawn]:
        """Yield this worker's samples, whole batches of them."""
        layout, place = self.layout, worker()
        stream = (place + self.done) % layout.workers
        mixture = Mixture(
            self.makers,
            seed=layout.seed,
            epoch=self.epoch,
            share=Share(self.rank + layout.world_size * stream, layout.world_size * layout.workers),
            buffer=layout.shuffle_buffer,
            position=self.positions[stream],
        )
        for _ in range(self.done + place, layout.batches, layout.workers):
            for _ in range(layout.batch_size):
                sample = next(mixture)
                yield Drawn(sample, stream, mixture.position)


def beginning(layout: Layout) -> tuple[Position, ...]:
    """Return where the streams stand at the start of an epoch."""
    return ((0,) * (1 + len(layout.sources)),) * layout.workers
