"""What became of the records that were read: counted over all workers, so that none is left out in silence."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

REPORTED_ONE_BY_ONE = 10
_USED, _BROKEN, _EMPTY = range(3)


class SkippedRecordWarning(UserWarning):
    """A record was left out."""


class RecordCounts:
    """Counts used and left-out records of some sources in memory that worker processes share.

    A record counts each time it is read, and when it is read: workers read ahead of what is consumed.

    Args:
        sources: Names of the sources.
        workers: How many processes count at a time; each has cells of its own, so none waits for another.
    """

    def __init__(self, sources: Sequence[str], workers: int) -> None:
        self.sources = tuple(sources)
        self._cells = torch.zeros((3, max(1, workers), len(sources)), dtype=torch.int64)
        self._cells.share_memory_()

    def add_used(self, source: str, worker: int) -> None:
        """Count a record that became a sample."""
        self._cells.numpy()[_USED, worker, self.sources.index(source)] += 1

    def add_broken(self, source: str, worker: int, error: Exception) -> None:
        """Count a record that cannot be used, and say which; after some, only their total will be told."""
        cell = self._cells[_BROKEN, worker, self.sources.index(source)]
        cell += 1
        if cell <= REPORTED_ONE_BY_ONE:
            rest = "; further ones are only counted" if cell == REPORTED_ONE_BY_ONE else ""
            warnings.warn(f"{source}: skipped a broken record: {error}{rest}", SkippedRecordWarning, stacklevel=2)

    def add_empty(self, source: str, worker: int) -> None:
        """Count a record that has nothing for its source's task."""
        self._cells.numpy()[_EMPTY, worker, self.sources.index(source)] += 1

    @property
    def broken(self) -> dict[str, int]:
        """How often a record of each source could not be used; sources without any are left out."""
        return {name: count["broken"] for name, count in self.counts().items() if count["broken"]}

    @property
    def empty(self) -> dict[str, int]:
        """How often a record of each source had nothing for its task; sources without any are left out."""
        return {name: count["empty"] for name, count in self.counts().items() if count["empty"]}

    def counts(self) -> dict[str, dict[str, int]]:
        """Return for each source how many records were read, and of these used, broken and empty."""
        totals = self._cells.sum(1).T.tolist()
        return {name: _named(*total) for name, total in zip(self.sources, totals, strict=True)}


def report(split: str, counts: dict[str, dict[str, int]]) -> None:
    """Warn about every source of a split of which records were left out."""
    for name, count in counts.items():
        if count["read"] > count["used"]:
            warnings.warn(
                f"{split}: {name}: of {count['read']} records read, {count['broken']} broken ones were skipped, "
                f"{count['empty']} had nothing for the task (a record counts each time it is read)",
                SkippedRecordWarning,
                stacklevel=3,
            )


def _named(used: int, broken: int, empty: int) -> dict[str, int]:
    return {"read": used + broken + empty, "used": used, "broken": broken, "empty": empty}
