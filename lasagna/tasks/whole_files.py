"""Checkpoint files that are replaced as a whole, on whatever file system the folder for temporary files is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO


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
