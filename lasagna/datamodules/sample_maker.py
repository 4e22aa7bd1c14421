"""From the raw sample of a shard to a prepared one, with all of its randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lasagna.core.batch import Preparation
from lasagna.core.dialogue import Dialogue
from lasagna.core.record import check_size, decode_image
from lasagna.core.seeding import generator
from lasagna.datamodules.sample import PreparedSample, prepare_sample
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import RawSample, worker
from lasagna.datamodules.skipped import SkipTally
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.errors import RecordError

Broken = Literal["error", "skip"]


@dataclass(frozen=True)
class SampleMaker:
    """Makes prepared samples of a source's raw ones.

    Args:
        source: Where the records come from and which task makes dialogues of them.
        strategies: Changes to the dialogues, in order.
        preparation: How the assistant wants images and text.
        seed: Seed of the run.
        tally: Where used and left-out records are counted.
        broken: Whether a record that cannot be used is an error, or skipped, counted and reported.
        evaluates: Whether the samples are for evaluation: they keep their images as they were, ask each round of a talk
            by itself, and may ask for more names than the language model takes at once.
    """

    source: Source
    strategies: Sequence[Strategy]
    preparation: Preparation
    seed: int
    tally: SkipTally
    broken: Broken = "error"
    evaluates: bool = False

    def __call__(self, raw: RawSample, epoch: int = 0, visit: int = 0) -> PreparedSample | None:
        """Return the sample, or None if the record is left out.

        Args:
            raw: Files of a record by extension, as webdataset has them.
            epoch: Number of the epoch.
            visit: Number of the pass over the source within the epoch.

        Raises:
            RecordError: If the record cannot be used and ``broken`` is "error"; names shard and record.
            QueryError: If a dialogue does not fit the assistant: that is the settings' fault, not the record's.
        """
        try:
            sample = self._make(raw, epoch, visit)
        except RecordError as fault:
            named = RecordError(f"{raw['__url__']}: {fault}")
            if self.broken == "error":
                raise named from fault
            self.tally.add_broken(self.source.label, worker(), named)
            return None
        count = self.tally.add_empty if sample is None else self.tally.add_used
        count(self.source.label, worker())
        return sample

    def rehearse(self, raw: RawSample) -> None:
        """Make a sample and forget it, uncounted: what would stop the run does so now.

        Raises:
            RecordError: As when the sample is made in earnest.
            QueryError: As when the sample is made in earnest.
        """
        try:
            self._make(raw, epoch=0, visit=0)
        except RecordError as fault:
            if self.broken == "error":
                raise RecordError(f"{raw['__url__']}: {fault}") from fault

    def _make(self, raw: RawSample, epoch: int, visit: int) -> PreparedSample | None:
        record = decode_record(raw, self.source.manifest)
        rng = generator(self.seed, epoch, f"{self.source.label}/{record.key}/{visit}")
        if self.source.transforms:
            check_size(record)
        for transform in self.source.transforms or ():
            record = transform(record, rng)
        dialogues = [self._change(dialogue, rng) for dialogue in self.source.task.dialogues(record, rng)]
        dialogues = [part for dialogue in dialogues for part in dialogue.apart()] if self.evaluates else dialogues
        if not dialogues:
            check_size(record)
            return None
        return prepare_sample(
            decode_image(record.image_bytes, record.key, size=record.size),
            dialogues,
            self.preparation,
            source=self.source.label,
            key=record.key,
            keep_image=self.evaluates,
            in_parts=self.evaluates,
        )

    def _change(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        for strategy in self.strategies:
            dialogue = strategy(dialogue, rng)
        return dialogue
