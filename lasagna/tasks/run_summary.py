"""What a run leaves behind: its scores, loss curves and a sheet of its answers."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table

from lasagna.tasks.curves import draw_curves
from lasagna.tasks.prediction_sheet import PredictionSheet
from lasagna.tasks.run_facts import machine, run_folder, seeds, versions, write_json

__all__ = ["PredictionSheet", "RunSummary", "print_scores", "read_scores"]

SCORES = "scores.json"
CURVES = "curves.png"


class RunSummary(Callback):
    """Writes ``scores.json`` and ``curves.png`` into the run's folder, and prints the scores as a table.

    ``scores.json`` has a part for each of fit and test, so that a later test replaces its own part alone. Nothing is
    written in a ``fast_dev_run``.
    """

    def __init__(self) -> None:
        """Start with no stage running."""
        self._started = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what training reached, and draw its curves."""
        folder = run_folder(trainer)
        scores = self._finish(trainer, folder, "fit")
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        for logger in trainer.loggers:
            logger.save()
        if (folder / "metrics.csv").is_file():
            draw_curves(folder / "metrics.csv", folder / CURVES)
        print_scores("after training", scores)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the scores of the test."""
        scores = self._finish(trainer, run_folder(trainer), "test")
        if trainer.is_global_zero:
            print_scores("test", scores)

    def _finish(self, trainer: Trainer, folder: Path, stage: str) -> dict[str, float]:
        seconds = time.monotonic() - self._started
        scores = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        if trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False):
            result = {"scores": _finite(scores), "seconds": round(seconds, 2), "steps": trainer.global_step}
            _store(folder / SCORES, trainer, stage, result)
        return scores


def read_scores(file: Path) -> dict[str, Any]:
    """Read a ``scores.json``.

    Raises:
        ValueError: If it is not one.
        OSError: If it cannot be opened.
    """
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise ValueError(f"{file}: expected an object with `stages`, as RunSummary writes it")
    return content


def print_scores(title: str, scores: dict[str, float]) -> None:
    """Print a table of scores; scores by length of the list are left to the report."""
    table = Table(title=title, title_justify="left")
    table.add_column("score")
    table.add_column("value", justify="right")
    for name, value in scores.items():
        if "/by_length/" not in name:
            table.add_row(name, f"{value:.4f}")
    if table.row_count:
        Console().print(table)


def _finite(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def _store(file: Path, trainer: Trainer, stage: str, result: dict[str, Any]) -> None:
    try:
        stages = read_scores(file)["stages"]
    except (OSError, ValueError):
        stages = {}
    facts = {"seeds": seeds(trainer), "versions": versions(), "machine": machine(trainer)}
    write_json(file, facts | {"stages": stages | {stage: result}})
