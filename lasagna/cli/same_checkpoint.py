"""Processes that resume from different checkpoints end before they train."""

from __future__ import annotations

from pathlib import Path
from socket import gethostname

from lightning import Callback, LightningModule, Trainer

from lasagna.datamodules.streaming.distributed import gather
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.modules.checkpoints.parted import main_file


class SameCheckpoint(Callback):
    """Checks that all processes resume from the same checkpoint, before any of them trains.

    Machines without a common disk may see different files, of which the first process alone writes.

    Args:
        path: The checkpoint that this process has found, or None.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare step and size of the checkpoints.

        Raises:
            CheckpointError: In all processes, if they differ.
        """
        found = gather((gethostname(), self.path, *_identity(self.path)))
        first = found[0]
        for rank, other in enumerate(found):
            if other[2:] != first[2:]:
                raise CheckpointError(
                    f"ckpt_path: process 0 {_told(first)}, process {rank} {_told(other)}; all machines need the same "
                    "checkpoint, on a common disk or as a copy of that of process 0 at the same path"
                )


def _identity(path: str | None) -> tuple[int | None, int | None]:
    """Return step and size in bytes of a checkpoint."""
    if path is None:
        return None, None
    size = None if "://" in path else main_file(Path(path)).stat().st_size
    return int(read_checkpoint(path).get("global_step", 0)), size


def _told(found: tuple[str, str | None, int | None, int | None]) -> str:
    host, path, step, size = found
    return f"on {host} has {'none' if path is None else f'{path} of step {step} ({size} bytes)'}"
