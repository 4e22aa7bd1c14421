"""Log the metrics of a run as CSV in the run's folder, continuing the file when training resumes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from lasagna.core.storage import whole_file, writing

METRICS = "metrics.csv"

Row = dict[str, str | float]


class RunLogger(Logger):
    """Writes ``metrics.csv`` into the folder of the run.

    Lightning's ``CSVLogger`` deletes an existing file, so that a resumed training or a later test would lose what was
    logged before. This logger keeps it. When training resumes from a checkpoint, rows that the interrupted run logged
    after that checkpoint are dropped, since their steps are repeated. Rows are appended; the file is rewritten only if
    a row adds a column or rows are dropped.

    Args:
        folder: The folder of the run.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._rows: list[Row] | None = None
        self._columns: list[str] = []
        self._saved = 0
        self._trained = False

    @property
    def name(self) -> str:
        """Empty, so that paths do not contain it."""
        return ""

    @property
    def version(self) -> str:
        """Empty, so that paths do not contain it."""
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
        """Do nothing; the resolved config is saved in the same folder."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Tensor | float], step: int | None = None) -> None:
        """Add a row.

        Args:
            metrics: Numbers by name.
            step: The optimiser step.
        """
        rows = self._known()
        place = len(rows) if step is None else step
        if not self._trained and any(name.startswith("train/") for name in metrics):
            rows[:] = [row for row in rows if not is_repeated(row, place)]
            self._trained, self._saved = True, 0
        rows.append({**{name: float(value) for name, value in metrics.items()}, "step": place})

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that are not in the file yet."""
        rows = self._known()
        unsaved = rows[self._saved :]
        if not unsaved:
            return
        if self._saved and all(row.keys() <= set(self._columns) for row in unsaved):
            with writing(self._file), self._file.open("a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, self._columns).writerows(unsaved)
        else:
            self._write(rows)
        self._saved = len(rows)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write the remaining rows."""
        self.save()

    @property
    def _file(self) -> Path:
        return self.folder / METRICS

    def _known(self) -> list[Row]:
        if self._rows is None:
            self._rows = read_rows(self._file)
        return self._rows

    def _write(self, rows: list[Row]) -> None:
        self._columns = sorted({name for row in rows for name in row})
        with whole_file(self._file) as draft, draft.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self._columns)
            writer.writeheader()
            writer.writerows(rows)


def is_repeated(row: Row, step: int) -> bool:
    """Say whether a training that goes on with a step logs a row again; it repeats no test.

    Args:
        row: The row.
        step: The step.
    """
    return float(row["step"]) >= step and not any(name.startswith("test/") for name in row)


def read_rows(file: Path) -> list[Row]:
    """Read a file of metrics; return one dictionary for each row, without empty cells, and nothing without a file.

    Args:
        file: The file.
    """
    if not file.is_file():
        return []
    # a run that was killed while it appended leaves an unfinished line
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    finished = [line for line in lines if line.endswith("\n")]
    return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(finished)]
