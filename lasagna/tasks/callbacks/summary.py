"""The summary of a run: ``scores.json``, ``curves.png`` and a table of scores."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.table import Table

from lasagna.tasks.callbacks.prediction_sheet import PredictionSheet
from lasagna.tasks.callbacks.run_facts import machine, run_folder, seeds, versions, write_json
from lasagna.tasks.metrics.names import ScoreName
from lasagna.tasks.visualization.curves import draw_curves

__all__ = ["PredictionSheet", "RunSummary", "print_scores", "read_scores"]

SCORES = "scores.json"
CURVES = "curves.png"


class RunSummary(Callback):
    """Writes ``scores.json`` and ``curves.png`` into the run's folder, and prints the scores as a table.

    ``scores.json`` has a section for each of fit, validate and test, so that a later test replaces only its own.
    Besides the scores it states how many records of each source were read, used, broken and empty (with nothing for the
    task); a record counts each time it is read. The table shows this for sources with records that were left out.
    Nothing is written in a ``fast_dev_run``.
    """

    def __init__(self) -> None:
        """Set the clock."""
        self._started = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, unless the validation is part of training."""
        if _validates(trainer):
            self._started = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the scores of training, and draw its curves."""
        folder = run_folder(trainer)
        scores = self._finish(trainer, folder, "fit")
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        for logger in trainer.loggers:
            logger.save()
        if (folder / "metrics.csv").is_file():
            draw_curves(folder / "metrics.csv", folder / CURVES)
        print_scores("after training", scores)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the scores, unless the validation is part of training."""
        if _validates(trainer):
            self._report(trainer, "validate")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the scores of the test."""
        self._report(trainer, "test")

    def _report(self, trainer: Trainer, stage: str) -> None:
        scores = self._finish(trainer, run_folder(trainer), stage)
        if trainer.is_global_zero:
            print_scores(stage, scores)

    def _finish(self, trainer: Trainer, folder: Path, stage: str) -> dict[str, float | int]:
        seconds = time.monotonic() - self._started
        scores = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        data: Any = getattr(trainer, "datamodule", None)
        records = data.counts(stage) if hasattr(data, "counts") else {}
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            finite = {name: value if math.isfinite(value) else None for name, value in scores.items()}
            result = {"scores": finite, "seconds": round(seconds, 2), "steps": trainer.global_step}
            _store(folder / SCORES, trainer, stage, result | ({"records": records} if records else {}))
        return scores | _left_out(records)


def read_scores(file: Path) -> dict[str, Any]:
    """Read a ``scores.json``.

    Raises:
        ValueError: If it is not the file of a run.
        OSError: If it cannot be opened.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise ValueError(f"{file}: expected an object with `stages`, as RunSummary writes it")
    return content


def print_scores(title: str, scores: Mapping[str, float | int]) -> None:
    """Print a table of scores and counts, without scores by length of the list."""
    table = Table(title=title, title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        if not ScoreName.parse(name).is_length_group:
            table.add_row(name, str(value) if isinstance(value, int) else f"{value:.4f}")
    if table.row_count:
        Console().print(table)


def _validates(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.VALIDATING


def _left_out(records: dict[str, dict[str, dict[str, int]]]) -> dict[str, int]:
    return {
        f"{split}/{source}/records/{name}": number
        for split, sources in records.items()
        for source, count in sources.items()
        for name, number in count.items()
        if count["used"] < count["read"]
    }


def _store(file: Path, trainer: Trainer, stage: str, result: dict[str, Any]) -> None:
    try:
        stages = read_scores(file)["stages"]
    except (OSError, ValueError):
        stages = {}
    facts = {"seeds": seeds(trainer), "versions": versions(), "machine": machine(trainer)}
    write_json(file, facts | {"stages": stages | {stage: result}})
