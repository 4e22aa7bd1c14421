"""The checkpoint of a run: one file, written every few steps and at the end."""

from __future__ import annotations

from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint


class RunCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt`` in the run's folder, to go on from and to use.

    Lightning's own leaves the steps after its last regular checkpoint unsaved. A file is replaced as a whole, so that a
    run that is killed while it writes can go on from the one before. Add a ``ModelCheckpoint`` to keep the best one.

    Args:
        every_n_steps: Optimiser steps between two checkpoints.
    """

    def __init__(self, every_n_steps: int = 100) -> None:
        super().__init__(save_last=True, save_top_k=0, every_n_train_steps=every_n_steps, enable_version_counter=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what the last steps made."""
        if not getattr(trainer, "fast_dev_run", False) and self.dirpath is not None:
            file = Path(self.dirpath) / f"{self.CHECKPOINT_NAME_LAST}{self.FILE_EXTENSION}"
            trainer.save_checkpoint(file, weights_only=False)
