"""When a run validates."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from lasagna.errors import check_counts


class RunValidation(Callback):
    """Validates a few times in a run, evenly spread over its steps, the last time after the last step.

    Lightning validates at the end of epochs, and many runs end before their first one. Validations that
    ``trainer.val_check_interval`` and ``check_val_every_n_epoch`` ask for remain. A run without a known number of steps
    has only those.

    An ``EarlyStopping`` that monitors a score of the validation looks at each validation, unless its
    ``check_on_train_epoch_end`` is set. The command line calls this callback before all others for that; to a
    ``Trainer`` of your own, give it first.

    Args:
        times: Number of validations.
        batches: Batches of each source in a validation during training; None for all. ``trainer.limit_val_batches`` has
            precedence, and the job ``validate`` takes all.

    Raises:
        ConfigError: If a number is not positive.
    """

    def __init__(self, times: int = 2, batches: int | None = 2) -> None:
        check_counts(times=times, batches=batches)
        self.times = times
        self.batches = batches
        self._due: frozenset[int] = frozenset()
        self._step = 0
        self._limited = False
        self._usual: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Limit the validations of a training, and let early stopping look at each."""
        for callback in vars(trainer)["callbacks"]:
            # by its own choice, which looks only at the trainer's schedule, it waits for the end of the epoch
            if isinstance(callback, EarlyStopping) and callback.monitor.startswith("val/"):
                settings = vars(callback)
                settings["_check_on_train_epoch_end"] = bool(settings["_check_on_train_epoch_end"])
        # the number 1 is one batch, the fraction 1.0 all of them
        unlimited = isinstance(trainer.limit_val_batches, float) and trainer.limit_val_batches == 1.0
        self._limited = stage == "fit" and self.batches is not None and unlimited
        if self._limited:
            vars(trainer)["limit_val_batches"] = self.batches

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let later jobs validate on everything again."""
        if self._limited:
            trainer.limit_val_batches = 1.0
            self._limited = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the steps after which to validate."""
        steps = trainer.estimated_stepping_batches
        parts = range(1, self.times + 1) if steps != float("inf") else ()
        self._due = frozenset(max(1, int(steps * part / self.times)) for part in parts)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Note the step, and go back to the trainer's own schedule."""
        self._step = trainer.global_step
        self._restore(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Make the trainer validate after this step if it is due."""
        if trainer.global_step in self._due and trainer.global_step > self._step:
            now = {
                "check_val_every_n_epoch": None,
                "val_check_batch": trainer.fit_loop.epoch_loop.total_batch_idx + 1,
                "_val_check_time_interval": None,
            }
            self._usual = {name: getattr(trainer, name) for name in now}
            vars(trainer).update(now)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the trainer's own schedule."""
        self._restore(trainer)

    def _restore(self, trainer: Trainer) -> None:
        if self._usual is not None:
            vars(trainer).update(self._usual)
            self._usual = None
