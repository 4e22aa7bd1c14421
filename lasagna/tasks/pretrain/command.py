"""``lasagna pretrain``: make all weights in the package, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lasagna.core.storage import check_output
from lasagna.errors import ConfigError

StageName = Literal["vocabulary", "vision_encoder", "language_model", "projector", "mask_head", "neutral"]


def pretrain(stages: list[StageName] | None = None, scenes: int = 12000, out: Path = Path("runs/pretrain")) -> None:
    """Make the weights of the tiny parts again; takes about an hour and a quarter on one core.

    Args:
        stages: Which stages to run, in this order; by default all. Each needs the files of the previous ones.
        scenes: Number of scenes that each stage learns from.
        out: Folder for logs and intermediate files. The weights are written into the package.

    Raises:
        ConfigError: If ``scenes`` is less than 1.
    """
    if scenes < 1:
        raise ConfigError(f"scenes: expected at least 1, got {scenes}; the packaged weights need thousands")
    check_output(out)
    # not earlier, since the help of the command needs no torch
    from lasagna.tasks.pretrain.weights import make_weights

    make_weights(stages, scenes, out)
