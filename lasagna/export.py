"""The ``lasagna export`` command: a trained assistant as a folder that others can load."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lasagna.assistant_folder import check_empty, write_assistant
from lasagna.loading import load, read_checkpoint


def export(ckpt: str, output: str, layout: Literal["adapter", "released"] = "adapter") -> None:
    """Write a trained assistant into a folder.

    The layout "adapter" holds what was trained, and names the rest: adapters in peft's format, heads, and how to make
    the assistant. Load it by ``lasagna.load(folder)``, ask it by ``lasagna predict --ckpt folder``, train it by
    ``python train.py --config folder/config.yaml``. The layout "released" is a whole model for LaSagnA's own code, its
    adapters merged; load it by ``lasagna.load(folder)``, and to train it begin with ``lasagna import``.

    Args:
        ckpt: A checkpoint that training wrote, or a folder of the layout "adapter".
        output: A new or empty folder.
        layout: Which of the two; "released" needs LLaVA v1 with SAM.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or the folder holds something.
    """
    target = Path(output)
    check_empty(target)
    assistant = load(ckpt)
    if layout == "released":
        from lasagna.released.exporting import export_release

        files = export_release(assistant, target)
    else:
        files = write_assistant(target, assistant, read_checkpoint(ckpt))
    for file in files:
        print(f"{file}  {file.stat().st_size / 2**20:.2f} MiB")
