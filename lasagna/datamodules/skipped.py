"""Records that were left out: counted over all workers, and reported."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch

REPORTED_ONE_BY_ONE = 10


class SkippedRecordWarning(UserWarning):
    """A record was left out."""


class SkipTally:
    """Counts left-out records of some sources in memory that worker processes share.

    Args:
        sources: Names of the sources.
        workers: How many processes count at a time; each has cells of its own, so none waits for another.
    """

    def __init__(self, sources: Sequence[str], workers: int) -> None:
        self.sources = tuple(sources)
        self._broken = _shared_zeros(max(1, workers), len(sources))
        self._empty = _shared_zeros(max(1, workers), len(sources))

    def add_broken(self, source: str, worker: int, fault: Exception) -> None:
        """Count a record that cannot be used, and say which; after some, only their total will be told."""
        cell = self._broken[worker, self.sources.index(source)]
        cell += 1
        if cell <= REPORTED_ONE_BY_ONE:
            rest = "; further ones are only counted" if cell == REPORTED_ONE_BY_ONE else ""
            warnings.warn(f"{source}: skipped a broken record: {fault}{rest}", SkippedRecordWarning, stacklevel=2)

    def add_empty(self, source: str, worker: int) -> None:
        """Count a record that has nothing for its source's task."""
        self._empty[worker, self.sources.index(source)] += 1

    @property
    def broken(self) -> dict[str, int]:
        """How many records of each source could not be used; those of none are left out."""
        return self._totals(self._broken)

    @property
    def empty(self) -> dict[str, int]:
        """How many records of each source had nothing for its task; those of none are left out."""
        return self._totals(self._empty)

    def _totals(self, counts: torch.Tensor) -> dict[str, int]:
        return {name: total for name, total in zip(self.sources, counts.sum(0).tolist(), strict=True) if total}


def _shared_zeros(rows: int, columns: int) -> torch.Tensor:
    cells = torch.zeros((rows, columns), dtype=torch.int64)
    cells.share_memory_()
    return cells
