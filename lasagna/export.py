"""The ``lasagna export`` command: a trained assistant as a small folder that others can load."""

from __future__ import annotations

from pathlib import Path

from lasagna.assistant_folder import write_assistant
from lasagna.loading import load, read_checkpoint


def export(ckpt: str, output: str) -> None:
    """Write what was trained of an assistant into a folder: adapters in peft's format, heads, and how to make the rest.

    The folder is loaded by ``lasagna.load(folder)``, asked by ``lasagna predict --ckpt folder``, and trained on by
    ``python train.py --model.warm_start folder``.

    Args:
        ckpt: A checkpoint that training wrote.
        output: A new or empty folder.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or the folder holds something.
    """
    checkpoint = read_checkpoint(ckpt)
    files = write_assistant(Path(output), load(ckpt), checkpoint)
    for file in files:
        print(f"{file}  {file.stat().st_size / 2**20:.2f} MiB")
