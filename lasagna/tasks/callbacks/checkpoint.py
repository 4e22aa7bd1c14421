"""The checkpoints of a run: the last one, written every few steps and at the end, and the best one by a score.

A crash never leaves a partial file.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from pathlib import Path
from shutil import rmtree
from typing import Any, Literal

from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from lasagna.modules.checkpoints.parted import is_parted, read_parted, write_torch
from lasagna.tasks.callbacks.run_facts import run_folder
from lasagna.tasks.callbacks.stopping import StopSignals, before_validation, settle_validation
from lasagna.tasks.metrics.names import quantity_of


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint into a temporary file beside it, and then renames that file; reads files and folders.

    Lightning writes into the folder for temporary files. If that is on another file system, the rename is a copy, and a
    run that is killed meanwhile leaves a partial file.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401
    ) -> None:
        """Write a checkpoint; Lightning writes those that are not local files.

        Args:
            checkpoint: The content.
            path: The file.
            storage_options: Options of remote storage.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        if is_parted(Path(path)):
            # the folder of a training with divided weights stays until the file that takes its place is complete
            draft = Path(f"{path}.new")
            write_torch(checkpoint, draft)
            rmtree(path)
            draft.replace(path)
        else:
            write_torch(checkpoint, Path(path))

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Any | None = None,  # noqa: ANN401
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint; Lightning reads those that are not folders of a training with divided weights.

        Args:
            path: The file or folder.
            map_location: Where tensors are put.
            weights_only: Whether only plain data and tensors are read, as in folders always.
        """
        if is_parted(Path(path)):
            return read_parted(Path(path))
        content: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
        return content


def use_whole_files(trainer: Trainer) -> None:
    """Let a trainer read and write by ``WholeFiles``, unless the user has chosen another ``CheckpointIO``."""
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = WholeFiles()


class RunCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt`` in the run's folder, to resume from and to use.

    Lightning's callback does not save the steps after its last regular checkpoint. A file is replaced atomically, so
    that a run that is killed while it writes can resume from the previous one. If a validation follows the step, the
    checkpoint is written after it, so that a run that is killed in between repeats the validation.

    Ctrl-C and SIGTERM, to any process, end the training after the optimiser step that is running, or within the
    validation, with a checkpoint. Several processes end a validation first, since they may have different shares of it.

    Args:
        every_n_steps: Optimiser steps between two checkpoints.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        super().__init__(save_last=True, save_top_k=0, every_n_train_steps=every_n_steps, enable_version_counter=False)
        self._waiting = False
        self._signals = StopSignals()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write into the run's folder, atomically unless the user has chosen another ``CheckpointIO``."""
        self.dirpath = self.dirpath or str(checkpoint_folder(trainer))
        super().setup(trainer, pl_module, stage)
        use_whole_files(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note Ctrl-C and SIGTERM from now on."""
        super().on_train_start(trainer, pl_module)
        self._signals.watch()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Save every few steps, now or after the validation that follows."""
        due = trainer.global_step % self._every_n_train_steps == 0 and not self._should_skip_saving_checkpoint(trainer)
        self._waiting = due and _validation_follows(trainer)
        if not self._waiting:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if trainer.fit_loop.epoch_loop._should_accumulate() or _validation_follows(trainer):
            return
        if self._signals.came(trainer):
            self._save(trainer)
            # Lightning logs the step after this hook
            trainer._logger_connector.on_batch_end()
            trainer._logger_connector.update_train_step_metrics()
            self._signals.stop()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before a validation if there was a signal."""
        super().on_validation_start(trainer, pl_module)
        if _is_of_training(trainer):
            settle_validation(trainer)
            self._stop_before_validation(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop within a validation if there was a signal, and let the run that goes on repeat the validation."""
        if _is_of_training(trainer) and trainer.world_size == 1:
            self._stop_before_validation(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the checkpoint that waited for the validation, or because of a signal."""
        stops = _is_of_training(trainer) and self._signals.came(trainer)
        if self._waiting or stops:
            self._waiting = False
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))
        if stops:
            self._signals.stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last steps."""
        self._save(trainer)
        if self._signals.came(trainer):
            self._signals.stop()
        self._signals.forget()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Handle signals as before the training."""
        super().on_exception(trainer, pl_module, exception)
        self._signals.forget()

    def _stop_before_validation(self, trainer: Trainer) -> None:
        if self._signals.came(trainer):
            with before_validation(trainer):
                self._save(trainer)
            self._signals.stop()

    def _save(self, trainer: Trainer) -> None:
        if not getattr(trainer, "fast_dev_run", False) and self.dirpath is not None:
            file = Path(self.dirpath) / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}"
            trainer.save_checkpoint(file, weights_only=False)


def _is_of_training(trainer: Trainer) -> bool:
    """Say whether the validation that runs is one of a training, after at least one step."""
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def _validation_follows(trainer: Trainer) -> bool:
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    # a validation without batches does not call `on_validation_end`
    return fetcher is not None and loop._should_check_val_fx(fetcher) and sum(loop.val_loop.max_batches) > 0


BEST = "best.ckpt"
ANY_SCORE = "val/*"
"""The default of what the best checkpoint monitors: the first score of the first source."""


class BestCheckpoint(Checkpoint):
    """Keeps ``checkpoints/best.ckpt`` in the run's folder: the checkpoint of the validation with the best score.

    Args:
        monitor: Name of the score, such as ``val/scenes-semantic/miou/lasagna-v1``, or a glob pattern of which the
            first score counts that validation gives; by default the first one of the first source.
        mode: Whether higher scores are better ("max") or lower ones ("min"); None for what the package knows about the
            score.
    """

    def __init__(self, monitor: str = ANY_SCORE, mode: Literal["min", "max"] | None = None) -> None:
        self.monitor = monitor
        self.mode = mode
        self.name: str | None = None
        self.score: float | None = None

    @property
    def state_key(self) -> str:
        """Name of the state in a checkpoint, so that several scores can have a callback each."""
        return self._generate_state_key(monitor=self.monitor)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a checkpoint if the score is the best so far."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or getattr(trainer, "fast_dev_run", False):
            return
        name = next((name for name in trainer.callback_metrics if fnmatchcase(name, self.monitor)), None)
        score = None if name is None else float(trainer.callback_metrics[name])
        if name is not None and score is not None and self._is_better(name, score):
            self.name, self.score = name, score
            trainer.save_checkpoint(checkpoint_folder(trainer) / BEST, weights_only=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far and its name."""
        return {"name": self.name, "score": self.score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best score so far."""
        self.name, self.score = state_dict["name"], state_dict["score"]

    def _is_better(self, name: str, score: float) -> bool:
        if math.isnan(score):
            return False
        if self.score is None or self.name != name:
            return True
        rises = quantity_of(name).higher_is_better is not False if self.mode is None else self.mode == "max"
        return score > self.score if rises else score < self.score


def checkpoint_folder(trainer: Trainer) -> Path:
    """Return the folder of a run's checkpoints."""
    return run_folder(trainer) / "checkpoints"
