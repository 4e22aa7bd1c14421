"""Making samples of raw records: they are decoded, transformed, turned into dialogues and prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lasagna.core.dialogue import Dialogue
from lasagna.core.processors import Processors
from lasagna.core.record import Manifest, Record, check_size
from lasagna.core.seeding import generator
from lasagna.datamodules.protocols import RecordSource
from lasagna.datamodules.samplers import occurrence
from lasagna.datamodules.shards.codec import decode_record, record_key
from lasagna.datamodules.shards.reader import RawSample
from lasagna.datamodules.source import Source
from lasagna.datamodules.strategies import Strategy
from lasagna.datamodules.streaming.distributed import worker_index
from lasagna.datamodules.streaming.preparation import PreparedSample, prepare_record
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.datamodules.transforms.base import RecordTransform
from lasagna.errors import ConfigError, QueryError, RecordError

SKIP = "`data.broken: skip`"
"""The setting that skips records that cannot be used."""


@dataclass(frozen=True)
class SampleMaker:
    """Prepares the raw samples of a source.

    Args:
        source: The source, with its task.
        strategies: Changes to the dialogues, in order.
        processors: The assistant's processors.
        seed: Seed of the run.
        tally: Counts of used and skipped records.
        broken: Whether a record that cannot be used is an error, or is skipped, counted and reported.
        evaluates: Whether the samples are for evaluation: they keep the original image, ask each turn of a conversation
            by itself, and may ask for more names than the language model takes at once.
    """

    source: Source
    strategies: Sequence[Strategy]
    processors: Processors
    seed: int
    tally: RecordCounts
    broken: Literal["error", "skip"] = "error"
    evaluates: bool = False

    def __post_init__(self) -> None:
        """Check the strategies against the prompt format.

        Raises:
            ConfigError: If it lacks what one of them needs.
        """
        for strategy in self.strategies:
            strategy.check_format(self.processors.prompt_format)

    def __call__(self, raw: RawSample, began: int = 0, visit: int = 0) -> PreparedSample | None:
        """Return the sample, or None if the record is skipped.

        Args:
            raw: Files of a record by extension, as webdataset returns them.
            began: Number of batches of the run before the streams began.
            visit: Number of the pass over the source since then.

        Raises:
            RecordError: If the record cannot be used and ``broken`` is "error"; names shard and record.
            QueryError: If a text of the record does not fit the assistant and ``broken`` is "error"; names both too.
        """
        try:
            with naming(raw):
                sample = self._make(raw, began, visit)
        except (RecordError, QueryError) as error:
            if self.broken == "error":
                raise not_skipped(error) from error
            self.tally.add_broken(self.source.label, worker_index(), error)
            return None
        count = self.tally.add_empty if sample is None else self.tally.add_used
        count(self.source.label, worker_index())
        return sample

    def dry_run(self, raws: Iterable[RawSample]) -> None:
        """Make some samples and discard them without counting them, so that errors show before the run.

        Args:
            raws: Files of each record by extension, as webdataset returns them.

        Raises:
            RecordError: If a record cannot be used and ``broken`` is "error"; names shard and record.
            QueryError: If a dialogue does not fit the assistant and ``broken`` is "error", or if none of the records
                fits, which the settings cause.
        """
        misfits, tried = list[QueryError](), 0
        for raw in raws:
            tried += 1
            try:
                with naming(raw):
                    self._make(raw, began=0, visit=0)
            except (RecordError, QueryError) as error:
                if self.broken == "error":
                    raise not_skipped(error) from error
                misfits += [error] if isinstance(error, QueryError) else []
        if misfits and len(misfits) == tried:
            raise misfits[0]

    def _make(self, raw: RawSample, began: int, visit: int) -> PreparedSample | None:
        record, dialogues = ask_record(
            raw, self.source, self._change, seed=self.seed, began=began, visit=visit, each_turn=self.evaluates
        )
        if not dialogues:
            return None
        return prepare_record(record, dialogues, self.processors, source=self.source.label, evaluates=self.evaluates)

    def _change(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        for strategy in self.strategies:
            dialogue = strategy(dialogue, rng)
        return dialogue


def not_skipped(error: RecordError | QueryError, option: str = SKIP) -> RecordError | QueryError:
    """Return the error of a record that is not to be skipped, with the way to skip it.

    Args:
        error: The error; one of a query has its own way out.
        option: What skips such records; takes the place of ``SKIP``, if the error names that already.
    """
    if isinstance(error, QueryError):
        return error
    return RecordError(f"{str(error).removesuffix(_way_out(SKIP))}{_way_out(option)}")


def _way_out(option: str) -> str:
    return f"; repair the data, or leave such records out by {option}"


@contextmanager
def naming(raw: RawSample) -> Iterator[None]:
    """Add the shard, and where it is missing the record, to errors that a record causes.

    Args:
        raw: Files of the record by extension, as webdataset returns them.
    """
    try:
        yield
    except RecordError as error:
        raise RecordError(f"{raw['__url__']}: {error}") from error
    except QueryError as error:
        raise QueryError(f"{raw['__url__']}: record {record_key(raw)}: {error}") from error


def ask_record(
    raw: RawSample,
    source: RecordSource,
    change: Callable[[Dialogue, np.random.Generator], Dialogue | None],
    *,
    seed: int,
    began: int = 0,
    visit: int = 0,
    each_turn: bool = False,
) -> tuple[Record, list[Dialogue]]:
    """Decode a record, transform it and make its dialogues, for training, tests and ``lasagna evaluate`` alike.

    Args:
        raw: Files of a record by extension, as webdataset returns them.
        source: The source, with its transforms and its task.
        change: Changes a dialogue of the task, or drops it by returning None.
        seed: Seed of the run.
        began: Number of batches of the run before the streams began.
        visit: Number of the pass over the source since then.
        each_turn: Whether each turn of a conversation becomes a dialogue.

    Returns:
        The transformed record and its dialogues; no dialogues if there is nothing for the task.

    Raises:
        RecordError: If the annotations cannot be decoded, or the image has another size than they state. The size is
            checked here before transforms and for records without dialogues, whose image is not decoded afterwards.
        ConfigError: If the task returns something else than dialogues.
    """
    record = decode_record(raw, stored_manifest(source))
    rng = generator(seed, began, f"{source.label}/{record.key}/{visit}{occurrence(raw)}")
    transforms = bound_transforms(source)
    if transforms:
        check_size(record)
    for transform in transforms:
        record = transform(record, rng)
    changed = [change(dialogue, rng) for dialogue in _dialogues(source, record, rng)]
    dialogues = [dialogue for dialogue in changed if dialogue is not None]
    if each_turn:
        dialogues = [turn for dialogue in dialogues for turn in dialogue.apart()]
    if not dialogues:
        check_size(record)
    return record, dialogues


def _dialogues(source: RecordSource, record: Record, rng: np.random.Generator) -> Sequence[Dialogue]:
    """Return what the task of a source asks about a record, which may be a user's own."""
    returned: object = source.task.dialogues(record, rng)
    found = list(returned) if isinstance(returned, Iterable) else [returned]
    if odd := [one for one in found if not isinstance(one, Dialogue)]:
        raise ConfigError(
            f"source {source.label}: `dialogues` of {type(source.task).__name__} returned {str(odd[0])[:40]!r}; return "
            "a list of Dialogue, empty if a record has nothing for the task"
        )
    return [one for one in found if isinstance(one, Dialogue)]


def stored_manifest(source: RecordSource) -> Manifest:
    """Return the manifest of a source's records as they are stored, which transforms may change.

    Args:
        source: The source.
    """
    return source.shard_set.manifest if isinstance(source, Source) else source.manifest


def bound_transforms(source: RecordSource) -> Sequence[RecordTransform]:
    """Return the transforms of a source, adapted to it.

    Args:
        source: The source.
    """
    if isinstance(source, Source):
        return source.bound_transforms
    return [transform.for_source(source) for transform in getattr(source, "transforms", None) or ()]
