"""Whether the tower that a training state was trained with is the one that is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import read_state
from lasagna.released.names import TOWER

_MARK = "vision_model."
_ROUNDED = 0.01
"""How far a tensor may be from the folder's, as a part of its norm: what half precision leaves."""


def check_tower(state: Mapping[str, Tensor], folder: Path) -> None:
    """Compare the tower inside a state, if there is one, with that of the folder which is read instead.

    Args:
        state: Tensors by a release's names.
        folder: Folder of the CLIP tower.

    Raises:
        CheckpointError: If they are of two towers.
    """
    inside = {name.rpartition(_MARK)[2]: value for name, value in state.items() if TOWER in name and _MARK in name}
    if not inside:
        return
    own = {name.rpartition(_MARK)[2]: value for name, value in read_state(folder, "vision_tower").items()}
    differing = [name for name in inside if name in own and not _alike(inside[name], own[name])]
    if differing:
        raise CheckpointError(
            f"vision_tower: the source was trained with another one than that in {str(folder)!r}: {differing[0]} "
            f"differs, and {len(differing) - 1} more; give the folder of the tower it was trained with"
        )


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    distance = (one.float() - other.float()).norm()
    return bool(distance <= _ROUNDED * other.float().norm())
