"""What ``lasagna calibrate`` asks: the names, phrases or questions of a folder, or the queries of a task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lasagna.core.dialogue import Dialogue
from lasagna.core.query_kind import QueryKind
from lasagna.datamodules import NegativeInjection, OrderRandomization, Source
from lasagna.datamodules.strategies import Strategy
from lasagna.errors import ConfigError, QueryError
from lasagna.tasks import Reasoning, Referring, Semantic, Task

TASKS: dict[str, Task] = {
    "categories": Semantic(),
    "phrases": Referring(phrases=None),
    "questions": Reasoning(questions=None),
}
"""Annotation, as manifests count it, to the task that asks for all of it."""

NAMED_ABSENT = "names known to be absent"


class CalibrationQueries:
    """The queries of a calibration, whose answers decide on names or phrases.

    Kinds of a user's own ask for the names of a data set if they take lists, or else for its phrases, or the questions
    of one without phrases.

    Args:
        kind: The kind of query; None for those of ``task``.
        task: What asks, with its own kinds; None to ask for the annotations that fit ``kind``.

    Raises:
        QueryError: If both or neither is given, or the answers decide on nothing before their words.
    """

    def __init__(self, kind: QueryKind | None, task: Task | None = None) -> None:
        if (kind is None) == (task is None):
            raise QueryError("kind: a task asks by kinds of its own; give either --kind or --task")
        self.kinds = task.kinds if kind is None and task else (kind,) if kind else ()
        if self.kinds and all(one.is_free for one in self.kinds):
            raise QueryError(
                f"kind: {', '.join(map(repr, map(str, self.kinds)))} cannot be calibrated, since its answers are words "
                "without a decision before them; choose 'categories', a list of names, or 'referring'"
            )
        self.task = task
        changes = [] if kind is None else [_OfKind(kind), NegativeInjection(), OrderRandomization()]
        self.strategies: list[Strategy] = changes

    def source(self, folder: str) -> Source:
        """Return a folder with the task that asks about it, before the assistant is loaded.

        Args:
            folder: Folder or address of shards.

        Raises:
            ShardError: If it has no shards.
            ConfigError: If its counts say that it has nothing to ask for.
        """
        if self.task is not None:
            return Source(folder, self.task)
        source = Source(folder, Semantic())
        counts = source.shard_set.tally.entries
        fitting = self._annotations()
        there = [name for name in TASKS if counts.get(name)]
        there += ["categories"] * bool(counts.get(NAMED_ABSENT) and not counts.get("categories"))
        found = fitting[0] if not counts else next((name for name in fitting if name in there), None)
        if found is None:
            kinds = [str(TASKS[name].kinds[0]) for name in there] or ["another folder"]
            raise ConfigError(
                f"shards: {source.manifest.name!r} has no {' or '.join(fitting)}; choose --kind {' or '.join(kinds)}, "
                "or other shards"
            )
        return Source(folder, TASKS[found])

    def _annotations(self) -> list[str]:
        """Return what the kind may ask for: what a task of the package asks by it, or else all of its form."""
        (kind,) = self.kinds
        stated = [name for name, task in TASKS.items() if kind in task.kinds]
        return stated or [name for name, task in TASKS.items() if task.kinds[0].many == kind.many]


class _OfKind(Strategy):
    """Asks the same by another kind of query."""

    def __init__(self, kind: QueryKind) -> None:
        self.kind = kind

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with the other kind."""
        return replace(dialogue, kind=self.kind)
