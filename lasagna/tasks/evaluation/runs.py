"""The runs of an evaluation: each source as it is, and again for each control."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.image_files import decode_image
from lasagna.core.processors import Processors
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Record
from lasagna.core.seeding import generator
from lasagna.datamodules import PreparedSample, RecordSource, prepare_sample
from lasagna.datamodules.co_occurrence import CoOccurrence
from lasagna.datamodules.protocols import contents, read_records
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import RawSample, ShardSplit
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.sample import ask_record, bound_transforms, naming, not_skipped, stored_manifest
from lasagna.errors import ConfigError, QueryError, RecordError
from lasagna.tasks import Task
from lasagna.tasks.evaluation import Control
from lasagna.tasks.metrics import DialogueMetric


def balanced(
    dialogue: Dialogue, rng: np.random.Generator, co_occurrence: CoOccurrence | None = None
) -> Dialogue | None:
    """Ask for all present names and as many absent ones, in random order.

    Args:
        dialogue: A list of categories as its task asks for it: every name that is known to be present or absent.
        rng: The generator of the record.
        co_occurrence: If given, the absent names are those that appear most often beside the present ones; otherwise
            they are random.

    Returns:
        The dialogue; None if it is not a list of categories, or has no present or no absent name.
    """
    present = [entry.name for entry in dialogue.entries if entry.present]
    known = {normalise(name) for name in present}
    absent = [name for name in dialogue.query if normalise(name) not in known]
    if not dialogue.kind.many or not present or not absent:
        return None
    absent = [absent[place] for place in rng.permutation(len(absent))]
    if co_occurrence is not None:
        likely = co_occurrence.likelihoods(absent, present)
        absent = [absent[place] for place in np.argsort(-likely, kind="stable")]
    names = [*present, *absent[: len(present)]]
    return dialogue.with_answer([names[place] for place in rng.permutation(len(names))], dialogue.entries)


def noise(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return random pixels in the size of an image, uint8 ``[H, W, 3]``."""
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


@dataclass(frozen=True)
class EvaluationSample:
    """A record and its dialogues.

    Args:
        record: The record after the source's transforms.
        dialogues: What the assistant is asked about it.
    """

    record: Record
    dialogues: tuple[Dialogue, ...]


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """One pass over the records of a source.

    Args:
        source: The source.
        task: Its task.
        strategies: Changes to the dialogues, in order.
        seed: Seed of the dialogues.
        decodings: How answers are decoded.
        controls: The controls that apply; without any, the source is asked as it is.
        broken: Whether a record that cannot be used is an error, or skipped and reported.
        limit: Maximum number of records; None for all.
    """

    source: RecordSource
    task: Task
    strategies: tuple[Strategy, ...]
    seed: int
    decodings: tuple[Decoding, ...]
    controls: tuple[Control, ...] = ()
    broken: Literal["error", "skip"] = "error"
    limit: int | None = None

    @property
    def name(self) -> str:
        """Name in scores: that of the source, followed by the controls."""
        return "-".join([self.source.label, *self.controls])

    @property
    def names(self) -> str:
        """Which names lists ask for: "asked" for those of the source, or the control that chooses them."""
        return next((control for control in self.controls if control != "blind"), "asked")

    def raw(self, share: ShardSplit = ShardSplit()) -> Iterator[RawSample]:  # noqa: B008 - frozen
        """Yield a share of the records, undecoded."""
        if self.limit is None:
            return read_records(self.source, share)
        first = islice(read_records(self.source), self.limit)
        return islice(first, share.part, None, share.parts)

    def ask(self, raw: RawSample) -> EvaluationSample | None:
        """Make the dialogues of a record; they depend only on the seed and the record.

        Returns:
            The record and its dialogues, or None if there is nothing to ask.

        Raises:
            RecordError: If the record cannot be used; names its shard.
            ConfigError: If another record cannot be used and a control counts all of them.
        """
        with naming(raw):
            return self._ask(raw)

    def prepare(self, raw: RawSample, processors: Processors) -> PreparedSample | None:
        """Make the sample that the assistant answers.

        Returns:
            The sample, or None if there is nothing to ask.

        Raises:
            RecordError: If the record or its image cannot be used; names its shard.
            QueryError: If a dialogue does not fit the assistant; names shard and record.
        """
        with naming(raw):
            sample = self._ask(raw)
            if sample is None:
                return None
            record = sample.record
            return prepare_sample(
                self.image(record),
                sample.dialogues,
                processors,
                source=self.name,
                key=record.key,
                in_parts=True,
                others=self._others(record),
                masks_on=record.masks_on,
            )

    def image(self, record: Record) -> NDArray[np.uint8]:
        """Return the image that the assistant sees, uint8 ``[H, W, 3]``.

        Raises:
            RecordError: If it cannot be decoded, or has another size than the annotations.
        """
        image = decode_image(record.image_bytes, record.key, size=record.size)
        return noise(image, generator(self.seed, 0, f"blind/{record.key}")) if "blind" in self.controls else image

    def _others(self, record: Record) -> list[NDArray[np.uint8]]:
        others = record.other_images()
        if "blind" not in self.controls:
            return others
        rng = generator(self.seed, 0, f"blind/{record.key}/others")
        return [noise(other, rng) for other in others]

    def describe(self) -> dict[str, Any]:
        """Return what identifies the questions and images, as plain data."""
        return {
            "name": self.name,
            "data_set": self.source.manifest.name,
            "task": type(self.task).__name__,
            "names": self.names,
            "blind": "blind" in self.controls,
            "decodings": list(self.decodings),
            "shards": contents(self.source),
        }

    def asks_all(self, record: Record) -> bool:
        """Return whether all is asked about a record that a benchmark asks.

        Args:
            record: The record.
        """
        return self.task.asks_all(record)

    def own_metrics(self) -> list[DialogueMetric]:
        """Return the only metrics of a run that is not scored as its task is; none for others."""
        return []

    def _ask(self, raw: RawSample) -> EvaluationSample | None:
        record, dialogues = ask_record(raw, self.source, self._change, seed=self.seed, each_turn=True)
        return EvaluationSample(record, tuple(dialogues)) if dialogues else None

    def _change(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue | None:
        if self.names != "asked":
            if not dialogue.kind.many:
                return None
            chosen = balanced(dialogue, rng, self._co_occurrence if self.names == "co-occurring" else None)
            return None if chosen is None else self._worded(chosen, rng)
        for strategy in self.strategies:
            dialogue = strategy(dialogue, rng)
        return dialogue

    def _worded(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return a dialogue whose names a control has chosen, in the wording of the strategies."""
        for strategy in self.strategies:
            dialogue = strategy(dialogue, rng) if strategy.words_only else dialogue
        return dialogue

    def check_skipped(self, error: RecordError | QueryError) -> None:
        """Raise the error of a record, with the way out, unless such records are skipped.

        Args:
            error: The error.

        Raises:
            RecordError: If ``broken`` is "error".
            QueryError: If ``broken`` is "error", and the error is one.
        """
        if self.broken == "error":
            raise not_skipped(error) from error

    @cached_property
    def _co_occurrence(self) -> CoOccurrence:
        return CoOccurrence.of_lists(self._shown())

    def _shown(self) -> Iterator[list[str]]:
        """Yield the categories of each record, by the source's names."""
        manifest = stored_manifest(self.source)
        transforms = bound_transforms(self.source)
        for raw in read_records(self.source):
            try:
                shown = list(decode_record(raw, manifest).category_masks())
                for transform in transforms:
                    shown = list(dict.fromkeys(map(transform.said, shown)))
                yield shown
            except RecordError as error:
                # where broken records are skipped, the run reports them as it reaches them
                if self.broken == "error":
                    raise ConfigError(
                        f"controls: 'co-occurring' counts the categories of all records; {raw['__url__']}: {error}. "
                        "Repair the data, set data.broken to 'skip', or leave this control out"
                    ) from error
