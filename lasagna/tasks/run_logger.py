"""The metrics of a run as CSV, in the run's own folder, going on where a resumed training does."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

METRICS = "metrics.csv"

Row = dict[str, str | float]


class RunLogger(Logger):
    """Writes ``metrics.csv`` into the folder of the run.

    Lightning's ``CSVLogger`` deletes the file that it finds, so that a resumed training or a later test would lose
    what was logged before. This one keeps it; where training goes on from a checkpoint, the rows that the stopped run
    wrote after that checkpoint go, since their steps are made again.

    Args:
        folder: The folder of the run.
        flush_every: How many rows are kept in memory at most.
    """

    def __init__(self, folder: str, flush_every: int = 50) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.flush_every = flush_every
        self._rows: list[Row] | None = None
        self._unsaved = 0
        self._trained = False

    @property
    def name(self) -> str:
        """Name of the run, part of no path."""
        return ""

    @property
    def version(self) -> str:
        """Version of the run, part of no path."""
        return ""

    @property
    def save_dir(self) -> str:
        """The folder of the run; Lightning puts checkpoints below it."""
        return str(self.folder)

    @property
    def log_dir(self) -> str:
        """The folder of the run."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, *args: object, **kwargs: object) -> None:
        """Do nothing: the resolved config is saved beside."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Add a row.

        Args:
            metrics: Numbers by name.
            step: The optimiser step that they belong to.
        """
        if self._rows is None:
            self._rows = self._read()
        place = len(self._rows) if step is None else step
        if not self._trained and any(name.startswith("train/") for name in metrics):
            self._rows = [row for row in self._rows if float(row["step"]) < place]
            self._trained = True
        self._rows.append({**{name: float(value) for name, value in metrics.items()}, "step": place})
        self._unsaved += 1
        if self._unsaved >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the file anew, so that nobody meets half of it."""
        if not self._unsaved or self._rows is None:
            return
        names = sorted({name for row in self._rows for name in row})
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{METRICS}.part"
        with draft.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names)
            writer.writeheader()
            writer.writerows(self._rows)
        draft.replace(self.folder / METRICS)
        self._unsaved = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is left."""
        self.save()

    def _read(self) -> list[Row]:
        file = self.folder / METRICS
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as stream:
            return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(stream)]
