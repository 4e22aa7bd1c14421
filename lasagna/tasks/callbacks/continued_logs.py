"""Lightning's loggers when training resumes: they go on with the files of the run instead of beginning anew."""

from __future__ import annotations

import csv
from pathlib import Path

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from lasagna.tasks.callbacks.csv_logger import is_repeated, read_rows


def continue_logs(trainer: Trainer, trains: bool, resumed: bool) -> None:
    """Let ``CSVLogger`` and ``TensorBoardLogger`` go on with what the run has logged.

    When training resumes, they would begin a new folder without a ``version``. With one, ``CSVLogger`` would delete the
    rows before, also those of a training that is evaluated. Call it before the trainer starts, which opens the files.

    Args:
        trainer: The trainer of the loggers.
        trains: Whether the trainer will train.
        resumed: Whether it will resume from a checkpoint.
    """
    for logger in trainer.loggers:
        if not isinstance(logger, CSVLogger | TensorBoardLogger):
            continue
        # before the first use, `_version` is what the user chose
        if logger._version is None and trains and resumed:
            vars(logger)["_version"] = _trained_version(logger)
        keeps = logger._version is not None and (resumed or not trains)
        if isinstance(logger, CSVLogger) and keeps and trainer.is_global_zero:
            vars(logger)["_experiment"] = _KeptRows(logger.log_dir)


class ContinuedLogs(Callback):
    """Drops the rows of ``CSVLogger`` that were logged after the checkpoint that training resumes from."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop the rows, whose steps are repeated."""
        for logger in trainer.loggers if trainer.is_global_zero else ():
            writer = logger._experiment if isinstance(logger, CSVLogger) else None
            if isinstance(writer, _KeptRows):
                writer.drop_from(trainer.global_step)


def _trained_version(logger: CSVLogger | TensorBoardLogger) -> int | None:
    """Return the newest version that a training logged to; loggers of both kinds may share their folder."""
    is_table = isinstance(logger, CSVLogger)
    files = Path(logger.root_dir).glob("version_*/metrics.csv" if is_table else "version_*/**/events.*")
    found = [file for file in files if not is_table or "train/" in file.read_text("utf-8").partition("\n")[0]]
    steps = [file.relative_to(logger.root_dir).parts[0].removeprefix("version_") for file in found]
    return max((int(step) for step in steps if step.isdigit()), default=None)


class _KeptRows(ExperimentWriter):
    """A writer that appends to the rows that are there."""

    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        self._file = Path(self.metrics_file_path)
        rows = read_rows(self._file)
        self.metrics_keys = sorted({name for row in rows for name in row})

    def _check_log_dir_exists(self) -> None:
        """Leave the file there, which Lightning would delete."""

    def drop_from(self, step: int) -> None:
        """Drop the rows that training will log again.

        Args:
            step: The step that training goes on with.
        """
        kept = [row for row in read_rows(self._file) if not is_repeated(row, step)]
        draft = self._file.with_name(f"{self._file.name}.part")
        with draft.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.metrics_keys)
            writer.writeheader()
            writer.writerows(kept)
        draft.replace(self._file)
