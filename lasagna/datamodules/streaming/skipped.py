"""Counts of the records that were used and skipped, over all workers, so that no record is skipped silently."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch

REPORTED_ONE_BY_ONE = 10
"""Number of broken records of a source, in each worker, that are named in warnings of their own."""

_USED, _BROKEN, _EMPTY = range(3)


class SkippedRecordWarning(UserWarning):
    """A record was skipped."""


class RecordCounts:
    """Counts the used and skipped records of some sources, in memory that worker processes share.

    A record counts each time it is read, and at that moment: workers read ahead of what is consumed.

    Args:
        sources: Names of the sources.
        workers: Number of processes that count at a time; each has its own cells, so that none waits for another.
    """

    def __init__(self, sources: Sequence[str], workers: int) -> None:
        self.sources = tuple(sources)
        self._cells = torch.zeros((3, max(1, workers), len(sources)), dtype=torch.int64)
        self._cells.share_memory_()

    def add_used(self, source: str, worker: int) -> None:
        """Count a record that became a sample.

        Args:
            source: Name of its source.
            worker: Index of this worker.
        """
        self._cells.numpy()[_USED, worker, self.sources.index(source)] += 1

    def add_broken(self, source: str, worker: int, error: Exception) -> None:
        """Count a record that cannot be used, and warn about it unless many were named before.

        Args:
            source: Name of its source.
            worker: Index of this worker.
            error: What is wrong with it.
        """
        cell = self._cells[_BROKEN, worker, self.sources.index(source)]
        cell += 1
        if cell <= REPORTED_ONE_BY_ONE:
            rest = "; further ones are only counted" if cell == REPORTED_ONE_BY_ONE else ""
            warnings.warn(f"{source}: skipped a broken record: {error}{rest}", SkippedRecordWarning, stacklevel=2)

    def add_empty(self, source: str, worker: int) -> None:
        """Count a record that has nothing for the task of its source.

        Args:
            source: Name of its source.
            worker: Index of this worker.
        """
        self._cells.numpy()[_EMPTY, worker, self.sources.index(source)] += 1

    @property
    def broken(self) -> dict[str, int]:
        """Number of records by source that could not be used; sources without any are omitted."""
        return {name: count["broken"] for name, count in self.counts().items() if count["broken"]}

    @property
    def empty(self) -> dict[str, int]:
        """Number of records by source that had nothing for its task; sources without any are omitted."""
        return {name: count["empty"] for name, count in self.counts().items() if count["empty"]}

    def counts(self) -> dict[str, dict[str, int]]:
        """Return, for each source, how many records were "read", and of these "used", "broken" and "empty"."""
        totals = self._cells.sum(1).T.tolist()
        return {
            name: {"read": used + broken + empty, "used": used, "broken": broken, "empty": empty}
            for name, (used, broken, empty) in zip(self.sources, totals, strict=True)
        }


def none_used(source: str, counts: Mapping[str, int], task: object) -> str:
    """Return the error for a source none of whose records could be used.

    Args:
        source: Its name.
        counts: How many of its records were "read", "broken" and "empty".
        task: Its task.
    """
    return (
        f"source {source}: none of its {counts['read']} records could be used; {counts['broken']} were broken, "
        f"{counts['empty']} have nothing for its task {type(task).__name__}; choose another task, repair the data or "
        "remove the source"
    )


def report(split: str, counts: dict[str, dict[str, int]]) -> None:
    """Warn about each source of a split that has skipped records.

    Args:
        split: Name of the split.
        counts: Source to counts, as ``RecordCounts.counts`` returns them.
    """
    for name, count in counts.items():
        if count["read"] > count["used"]:
            warnings.warn(
                f"{split}: {name}: of {count['read']} records read, {count['broken']} broken ones were skipped, "
                f"{count['empty']} had nothing for the task (a record counts each time it is read)",
                SkippedRecordWarning,
                stacklevel=3,
            )
