"""The checkpoint of a run: one file, written every few steps and at the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then moves it there.

    Lightning's own writes into the folder for temporary files; where that is another file system, the move is a copy
    into the checkpoint, and a run that is killed meanwhile leaves half a file.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401
    ) -> None:
        """Write a checkpoint; what is not a local file is left to Lightning.

        Args:
            checkpoint: What is to be stored.
            path: The file.
            storage_options: Taken by no local file.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f"{file.name}.part")
        with draft.open("wb") as stream:
            torch.save(checkpoint, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)


class RunCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt`` in the run's folder, to go on from and to use.

    Lightning's own leaves the steps after its last regular checkpoint unsaved. A file is replaced as a whole, so that a
    run that is killed while it writes can go on from the one before. Where a validation follows the step, the
    checkpoint waits for its end, so that a run that is killed in between validates there again. Add a
    ``ModelCheckpoint`` to keep the best one.

    Args:
        every_n_steps: Optimiser steps between two checkpoints.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        super().__init__(save_last=True, save_top_k=0, every_n_train_steps=every_n_steps, enable_version_counter=False)
        self._waiting = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have files replaced as a whole, unless the user has chosen another way to write them."""
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeFiles()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Save where it is time, now or after the validation that follows."""
        due = trainer.global_step % self._every_n_train_steps == 0 and not self._should_skip_saving_checkpoint(trainer)
        self._waiting = due and _validation_follows(trainer)
        if not self._waiting:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what has waited for the validation."""
        if self._waiting:
            self._waiting = False
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what the last steps made."""
        if not getattr(trainer, "fast_dev_run", False) and self.dirpath is not None:
            file = Path(self.dirpath) / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}"
            trainer.save_checkpoint(file, weights_only=False)


def _validation_follows(trainer: Trainer) -> bool:
    loop, fetcher = trainer.fit_loop.epoch_loop, trainer.fit_loop._data_fetcher
    # a validation without batches ends without telling anyone
    return fetcher is not None and loop._should_check_val_fx(fetcher) and sum(loop.val_loop.max_batches) > 0
