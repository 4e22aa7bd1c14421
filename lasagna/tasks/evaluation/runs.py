"""What is asked: each source once as it is, and once for each control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Record
from lasagna.core.seeding import generator
from lasagna.datamodules import ShardDataModule, Source
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import RawSample, ShardSplit, read_share
from lasagna.datamodules.strategies import Strategy
from lasagna.errors import ConfigError, RecordError
from lasagna.tasks import Reasoning, Referring, Semantic, Task

Names = Literal["asked", "same-set", "co-occurring"]


@dataclass(frozen=True)
class Companions:
    """How often categories are in one picture.

    Args:
        pictures: Category to the number of pictures that show it.
        together: Pair of categories to the number of pictures that show both.
    """

    pictures: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def count(cls, records: Iterable[Record]) -> Companions:
        """Count the categories of some records."""
        found = cls()
        for record in records:
            names = [normalise(name) for name in record.category_masks()]
            found.pictures.update(names)
            found.together.update(permutations(names, 2))
        return found

    def likelihood(self, name: str, present: Iterable[str]) -> float:
        """Return the mean share of the pictures with a present category that show the name too."""
        name = normalise(name)
        shares = [
            self.together[one, name] / self.pictures[one] for one in map(normalise, present) if self.pictures[one]
        ]
        return sum(shares) / len(shares) if shares else 0.0


def balanced(dialogue: Dialogue, rng: np.random.Generator, companions: Companions | None = None) -> Dialogue | None:
    """Ask for all present names and as many absent ones, in random order.

    Args:
        dialogue: A complex query as its task asks it: every name that is present or known to be absent.
        rng: The generator that belongs to the record.
        companions: Where given, the absent names are those that are likeliest beside the present ones; else any.

    Returns:
        The dialogue; None if it is not complex, or has no present or no absent name.
    """
    present = [entry.name for entry in dialogue.entries if entry.present]
    known = {normalise(name) for name in present}
    absent = [name for name in dialogue.query if normalise(name) not in known]
    if dialogue.kind != "categories" or not present or not absent:
        return None
    absent = [absent[place] for place in rng.permutation(len(absent))]
    if companions is not None:
        absent.sort(key=lambda name: -companions.likelihood(name, present))
    names = [*present, *absent[: len(present)]]
    return dialogue.with_answer([names[place] for place in rng.permutation(len(names))], dialogue.entries)


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image of the same size in which nothing is to be seen, uint8 ``[H, W, 3]``."""
    return rng.integers(0, 256, image.shape, dtype=np.uint8)


Control = Literal["blind", "same-set", "co-occurring"]
CONTROLS: tuple[Control, ...] = ("blind", "same-set", "co-occurring")


@dataclass(frozen=True)
class EvaluationSample:
    """A record with what is asked about it.

    Args:
        record: The record, as the source's transforms left it.
        dialogues: The dialogues.
    """

    record: Record
    dialogues: tuple[Dialogue, ...]


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """One pass over the records of a source.

    Args:
        source: Where the records come from.
        task: Its task.
        strategies: Changes to the dialogues, in order.
        seed: Seed of the dialogues.
        decodings: Ways in which answers are decoded.
        names: Which names complex queries list: those of the source, or those of a control.
        blind: Whether the pictures are replaced by noise.
        broken: Whether a record that cannot be used is an error, or skipped.
        limit: How many records are taken at most.
    """

    source: Source
    task: Task
    strategies: tuple[Strategy, ...]
    seed: int
    decodings: tuple[Decoding, ...]
    names: Names = "asked"
    blind: bool = False
    broken: str = "error"
    limit: int | None = None

    @property
    def name(self) -> str:
        """The name in scores: the source's, and what is controlled."""
        return self.source.label + ("" if self.names == "asked" else f"-{self.names}") + "-blind" * self.blind

    @property
    def is_plain(self) -> bool:
        """Whether it is the source as it is."""
        return self.names == "asked" and not self.blind

    def raw(self, share: ShardSplit = ShardSplit()) -> Iterator[RawSample]:  # noqa: B008 - frozen
        """Yield a part of the records, undecoded."""
        shard_set = self.source.shard_set
        if self.limit is None:
            return read_share(shard_set, shard_set.shards, share)
        first = islice(read_share(shard_set, shard_set.shards, ShardSplit()), self.limit)
        return islice(first, share.part, None, share.parts)

    def ask(self, raw: RawSample) -> EvaluationSample | None:
        """Make the dialogues about a record, the same in each process and whatever was asked before.

        Returns:
            None if there is nothing to ask, or the record is broken and skipped.

        Raises:
            RecordError: If the record cannot be used and broken ones are errors; names shard and record.
        """
        try:
            return self._ask(raw)
        except RecordError as error:
            if self.broken == "skip":
                return None
            raise RecordError(f"{raw['__url__']}: {error}") from error

    def picture(self, record: Record) -> NDArray[np.uint8]:
        """Return what the assistant sees, uint8 ``[H, W, 3]``.

        Raises:
            RecordError: If it cannot be decoded, or is of another size than its annotations.
        """
        image = record.image()
        if image.shape[:2] != record.size:
            raise RecordError(
                f"record {record.key}: the image is of size {image.shape[:2]}, its annotations say {record.size}"
            )
        return noise(image, generator(self.seed, 0, f"blind/{record.key}")) if self.blind else image

    def about(self) -> dict[str, Any]:
        """Say what is asked, as plain data that other shards do not share."""
        shard_set = self.source.shard_set
        return {
            "name": self.name,
            "data_set": shard_set.manifest.name,
            "task": type(self.task).__name__,
            "names": self.names,
            "blind": self.blind,
            "decodings": list(self.decodings),
            "shards": [shard.sha256[:16] for shard in shard_set.shards],
        }

    def _ask(self, raw: RawSample) -> EvaluationSample | None:
        record = decode_record(raw, self.source.manifest)
        rng = generator(self.seed, 0, f"{self.source.label}/{record.key}/0")
        for transform in self.source.transforms or ():
            record = transform(record, rng)
        dialogues = [self._changed(dialogue, rng) for dialogue in self.task.dialogues(record, rng)]
        kept = tuple(part for dialogue in dialogues if dialogue is not None for part in dialogue.apart())
        return EvaluationSample(record, kept) if kept else None

    def _changed(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue | None:
        if self.names != "asked":
            return balanced(dialogue, rng, self._companions if self.names == "co-occurring" else None)
        for strategy in self.strategies:
            dialogue = strategy(dialogue, rng)
        return dialogue

    @cached_property
    def _companions(self) -> Companions:
        shard_set = self.source.shard_set
        return Companions.count(
            decode_record(raw, shard_set.manifest) for raw in read_share(shard_set, shard_set.shards, ShardSplit())
        )


def make_passes(
    data: ShardDataModule,
    split: str,
    *,
    seed: int,
    decodings: Sequence[Decoding] | None,
    controls: Sequence[Control],
    limit: int | None,
    teacher_forced: bool = False,
) -> list[EvaluationRun]:
    """Return all passes of an evaluation.

    Args:
        data: The datamodule.
        split: Which of its splits.
        seed: Seed of the dialogues.
        decodings: Ways in which answers are decoded; None for those of each task. Controls use the first one.
        controls: Which controls are made; those of names are for complex queries.
        limit: How many records of a source are taken at most.
        teacher_forced: Whether phrases are also scored with the answer given.

    Raises:
        ConfigError: If a source's task cannot score answers, or two passes have the same name.
    """
    passes = []
    for source in data.sources[split]:
        if not isinstance(source.task, Task):
            raise ConfigError(f"source {source.label}: its task cannot score answers; give a subclass of Task")
        chosen = source.strategies if source.strategies is not None else data.evaluation_strategies
        strategies = tuple(strategy.for_manifest(source.manifest) for strategy in chosen)
        ways = tuple(decodings or source.task.decoding)
        if teacher_forced and isinstance(source.task, Referring | Reasoning) and "teacher_forced" not in ways:
            ways += ("teacher_forced",)
        for names, blind in _variants(source.task, controls):
            own = ways if names == "asked" and not blind else ways[:1]
            passes.append(EvaluationRun(source, source.task, strategies, seed, own, names, blind, data.broken, limit))
    listed = [one.name for one in passes]
    if doubled := sorted({name for name in listed if listed.count(name) > 1}):
        raise ConfigError(f"data.{split}: several sources are named {doubled}; give each a `name` of its own")
    return passes


def _variants(task: Task, controls: Sequence[Control]) -> list[tuple[Names, bool]]:
    names: list[Names] = ["asked"]
    if isinstance(task, Semantic):
        names += [control for control in CONTROLS[1:] if control in controls]  # type: ignore[misc]
    return [(name, blind) for name in names for blind in ((False, True) if "blind" in controls else (False,))]
