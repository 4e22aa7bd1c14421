"""What results depend on besides the config: seeds, versions and the machine; and the folder of a run."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer

from lasagna.core import storage

_PACKAGES = ("lasagna", "torch", "lightning", "torchmetrics", "transformers", "peft", "numpy", "pillow", "pycocotools")


def run_folder(trainer: Trainer) -> Path:
    """Return the folder of a run, ``trainer.default_root_dir``, wherever its loggers write."""
    return Path(trainer.default_root_dir)


def seeds(trainer: Trainer) -> dict[str, int | None]:
    """Return the seeds of a run: Lightning's global one, and those of data and model; None where there is none."""
    everything = os.environ.get("PL_GLOBAL_SEED")
    return {
        "everything": int(everything) if everything else None,
        "data": getattr(getattr(trainer, "datamodule", None), "seed", None),
        "model": getattr(trainer.lightning_module, "seed", None),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def machine(trainer: Trainer) -> dict[str, Any]:
    """Return the hardware and precision of a run."""
    device = trainer.strategy.root_device
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "devices": trainer.world_size,
        "precision": str(trainer.precision),
    }


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write JSON atomically, so that a reader never sees a partial file."""
    storage.write_json(file, content, indent=2, sort_keys=True)
