"""The ``lasagna export`` command: a trained assistant as a folder that others can load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from lasagna.modules.checkpoints.calibration import checksum, read_calibration, write_calibration
from lasagna.modules.checkpoints.folder import check_empty, write_assistant
from lasagna.modules.checkpoints.load import load, read_checkpoint


def export(ckpt: str, output: str, layout: Literal["adapter", "released"] = "adapter", shard_size: str = "5GB") -> None:
    """Write a trained assistant into a folder.

    The layout "adapter" holds what was trained, and names the rest: adapters in peft's format, heads, and how to make
    the assistant. Load it by ``lasagna.load(folder)``, ask it by ``lasagna predict --ckpt folder``, train it by
    ``python train.py --config folder/config.yaml``. The layout "released" is a whole model for LaSagnA's own code, its
    adapters merged; load it by ``lasagna.load(folder)``, and to train it begin with ``lasagna import``. What it has no
    place for is told. A calibration goes with either.

    Args:
        ckpt: A checkpoint that training wrote, or a folder of the layout "adapter".
        output: A new or empty folder.
        layout: Which of the two; "released" needs LLaVA v1 with SAM.
        shard_size: How large one file of a released layout's weights may be, such as "5GB"; above it there are several,
            with an index.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or the folder holds something.
        ConfigError: If ``shard_size`` is no size.
    """
    target = Path(output)
    check_empty(target)
    files, told = _release(ckpt, target, shard_size) if layout == "released" else (_adapter(ckpt, target), [])
    calibration = read_calibration(Path(ckpt))
    if calibration is not None:
        files.append(write_calibration(replace(calibration, checkpoint=checksum(target)), target))
    for file in files:
        print(f"{file}  {file.stat().st_size / 2**20:.2f} MiB")
    for remark in told:
        print(f"note: {remark}")


def _adapter(ckpt: str, target: Path) -> list[Path]:
    return write_assistant(target, load(ckpt, calibrated=False), read_checkpoint(ckpt))


def _release(ckpt: str, target: Path, shard_size: str) -> tuple[list[Path], list[str]]:
    from lasagna.core.config import build
    from lasagna.modules.assistant import Assistant
    from lasagna.modules.checkpoints.released.exporting import check_parts, export_release
    from lasagna.modules.checkpoints.released.folder import check_shard_size
    from lasagna.modules.checkpoints.released.reload import remarks
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, PREFIX

    check_shard_size(shard_size)
    checkpoint = read_checkpoint(ckpt)
    if checkpoint.get(ASSISTANT_CONFIG) is not None:  # before the weights are read, which may take minutes
        check_parts(build(checkpoint[ASSISTANT_CONFIG], Assistant))
    assistant = load(ckpt, calibrated=False)
    trained = {name.removeprefix(PREFIX) for name in checkpoint["state_dict"]}
    return export_release(assistant, target, trained, shard_size), remarks(assistant, target)
