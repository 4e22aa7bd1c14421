"""One training stream: an endless weighted mixture of sources, each read in passes of another order.

Samples are shuffled before they are decoded. All randomness is a function of the seed, the number of batches before the
streams began, the source's name, the number of the pass over it, and either the record's key or the number of the
stream. It does not depend on which process or worker reads a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

import numpy as np

from lasagna.core.seeding import generator
from lasagna.datamodules.samplers import Repeats
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.datamodules.streaming.passes import Passes
from lasagna.datamodules.streaming.preparation import PreparedSample
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.shuffle import Bounds, Place, ShuffledRecords
from lasagna.errors import RecordError

FIRST_RECORDS = 100
"""Number of records that a stream reads before its first batch, divided between the sources by their weights."""

FRUITLESS_PASSES = 3
"""Number of passes over a source without a single dialogue after which a run stops."""

FEW_RECORDS = 1000
"""Number of records of a source that count as a pass for ``FRUITLESS_PASSES``, if a stream's part of it is smaller."""


class Position(NamedTuple):
    """Position of a stream.

    Args:
        given: Number of samples that it yielded.
        places: Where the records of each source stand; None for those of which none was drawn.
    """

    given: int
    places: tuple[Place | None, ...]


@dataclass(frozen=True)
class StreamConfig:
    """Everything except the data that the order of training samples depends on.

    Args:
        seed: Seed of the run.
        batch_size: Images in a batch.
        streams: Number of streams; global batch k comes from stream k mod this number.
        shuffle_buffer: Largest number of records of each source that are shuffled together.
        shuffle_megabytes: Size of each stream's buffers in 10^6 bytes of undecoded records, over all sources.
        weights: Names and weights of the sources.
        records: Names of the sources and their numbers of records.
        samplers: Names of the sources and their samplers with all settings, or "None".
    """

    seed: int
    batch_size: int
    streams: int
    shuffle_buffer: int
    shuffle_megabytes: float
    weights: dict[str, float]
    records: dict[str, int]
    samplers: dict[str, str] = field(default_factory=dict)

    def bounds(self, source: str) -> Bounds:
        """Return the bounds of a source's buffer in each stream: its share, by its weight."""
        share = self.weights[source] / sum(self.weights.values())
        return Bounds(
            records=max(1, self.shuffle_buffer),
            bytes=int(share * self.shuffle_megabytes * 1e6),
            first=ceil(share * FIRST_RECORDS),
        )


class EndlessSource(Iterator[PreparedSample]):
    """One stream's samples of a source, in endless passes, each in another order.

    Args:
        maker: Makes samples of the records.
        config: What the order depends on.
        began: Number of batches of the run before the streams began.
        stream: Number of the stream.
        place: Where to continue; None for the beginning.
    """

    def __init__(
        self, maker: SampleMaker, config: StreamConfig, *, began: int = 0, stream: int = 0, place: Place | None = None
    ) -> None:
        self.maker, self.began = maker, began
        shard_set, label = maker.source.shard_set, maker.source.label
        passes = Passes(shard_set, label, config.seed, began, ShardSplit(stream, config.streams))
        weights = maker.source.weights_of_records
        repeats = Repeats(weights, passes.generator) if weights else None
        self._records = ShuffledRecords(passes, config.bounds(label), place, repeats)
        self._begun = place is not None
        self._fruitless = 0
        share = ceil(shard_set.records / config.streams)
        self._patience = FRUITLESS_PASSES * max(share, min(shard_set.records, FEW_RECORDS))

    @property
    def place(self) -> Place | None:
        """Where the records stand; None if none was drawn."""
        return self._records.place if self._begun else None

    def __next__(self) -> PreparedSample:
        """Return the next sample; records that give none are skipped.

        Raises:
            RecordError: If several passes gave no sample, or a record cannot be used and none may be skipped.
        """
        while self._fruitless < self._patience:
            visit, raw = next(self._records)
            self._begun = True
            sample = self.maker(raw, self.began, visit)
            if sample is not None:
                self._fruitless = 0
                return sample
            self._fruitless += 1
        source = self.maker.source
        raise RecordError(
            f"source {source.label}: {FRUITLESS_PASSES} passes over its records gave no dialogue; "
            f"{self.maker.tally.broken.get(source.label, 'none')} were broken, the others have nothing for its task "
            f"{type(source.task).__name__}; choose another task, repair the data or remove the source"
        )


class Mixture(Iterator[PreparedSample]):
    """One stream: an endless mixture of sources in proportion to their weights.

    Args:
        makers: One for each source.
        config: What the order depends on.
        began: Number of batches of the run before the streams began.
        stream: Number of the stream.
        position: Where to start; None for the beginning.
    """

    def __init__(
        self,
        makers: Sequence[SampleMaker],
        config: StreamConfig,
        *,
        began: int = 0,
        stream: int = 0,
        position: Position | None = None,
    ) -> None:
        position = position or Position(0, (None,) * len(makers))
        self.given = position.given
        self.sources = [
            EndlessSource(maker, config, began=began, stream=stream, place=place)
            for maker, place in zip(makers, position.places, strict=True)
        ]
        weights = np.array([maker.source.weight for maker in makers])
        self._bounds = np.cumsum(weights) / weights.sum()
        self._rng = generator(config.seed, began, f"mixture/{stream}/{config.streams}")
        self._rng.bit_generator.advance(self.given)  # type: ignore[attr-defined]  # one number for each sample

    @property
    def position(self) -> Position:
        """Position of the mixture after the last sample that it yielded."""
        return Position(self.given, tuple(source.place for source in self.sources))

    def __next__(self) -> PreparedSample:
        """Return the next sample, from a source drawn in proportion to the weights."""
        drawn = int(np.searchsorted(self._bounds, self._rng.random(), side="right"))
        sample = next(self.sources[min(drawn, len(self.sources) - 1)])
        self.given += 1
        return sample
