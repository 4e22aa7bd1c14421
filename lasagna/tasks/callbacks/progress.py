"""A progress bar that counts the steps of the run, and a table of the assistant's parts."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from torch import nn

from lasagna.modules import VisionEncoder


class RunProgress(ProgressBar):
    """Shows the optimiser steps of the entire run; Lightning's progress bars count batches within an epoch.

    There is one line for training and one for each evaluation; that of a validation disappears afterwards. If the
    output is not a terminal, only the finished line is written.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._progress: Progress | None = None
        self._training: TaskID | None = None
        self._evaluation: TaskID | None = None

    def disable(self) -> None:
        """Hide the bars; Lightning calls this on all processes except the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show bars."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a line at the step from which training starts or resumes."""
        steps = trainer.estimated_stepping_batches
        total = None if steps == float("inf") else steps
        self._training = self._begin("training", total, trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Show the step and the metrics that are logged with ``prog_bar``."""
        if self._progress is not None and self._training is not None:
            shown = [f"{name} {float(value):.3f}" for name, value in trainer.progress_bar_metrics.items()]
            self._progress.update(self._training, completed=trainer.global_step, note="  ".join(shown))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop updating the line."""
        self._stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a line for all sources."""
        self._begin_evaluation("validation", trainer.num_val_batches)

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Count a batch."""
        self._advance()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the line during training."""
        if self._progress is not None and self._evaluation is not None and trainer.state.fn == "fit":
            self._progress.remove_task(self._evaluation)
        self._evaluation = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop updating the line before scores are printed."""
        if trainer.state.fn != "fit":
            self._stop()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a line for all sources."""
        self._begin_evaluation("test", trainer.num_test_batches)

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Count a batch."""
        self._advance()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop updating the line before scores are printed."""
        self._stop()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a line for all sources."""
        self._begin_evaluation("prediction", trainer.num_predict_batches)

    def on_predict_batch_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Count a batch."""
        self._advance()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Release the terminal, also after an error."""
        self._stop()

    def _begin(self, what: str, total: float | None, done: int = 0) -> TaskID | None:
        if not self._enabled:
            return None
        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
            times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
            self._progress = Progress(*columns, *times)
            self._progress.start()
        return self._progress.add_task(what, total=total, completed=done, note="")

    def _begin_evaluation(self, what: str, batches: list[int | float]) -> None:
        total = sum(batches)
        self._evaluation = self._begin(what, None if total == float("inf") else total)

    def _advance(self) -> None:
        if self._progress is not None and self._evaluation is not None:
            self._progress.advance(self._evaluation)

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = self._training = self._evaluation = None


class PartsTable(Callback):
    """Prints the parts of the assistant before training, with class, maps, parameters and trained parameters.

    Lightning's model summary does not show the trained parameters of each part.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table."""
        if trainer.is_global_zero:
            Console().print(parts_table(getattr(pl_module, "assistant", pl_module)))


def parts_table(module: nn.Module) -> Table:
    """Return a row for each direct part that has parameters, or maps.

    Args:
        module: The assistant, built. Maps are those of its vision encoder: channels, height and width in cells, and
            stride in pixels of the input.
    """
    table = Table("part", "class", "maps")
    for title in ("parameters", "trained"):
        table.add_column(title, justify="right")
    for name, part in module.named_children():
        parameters = list(part.parameters())
        maps = part.spec.sizes if isinstance(part, VisionEncoder) else ()
        if parameters or maps:
            trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
            total = sum(parameter.numel() for parameter in parameters)
            table.add_row(name, type(part).__name__, "\n".join(maps), f"{total:,}", f"{trained:,}")
    return table
