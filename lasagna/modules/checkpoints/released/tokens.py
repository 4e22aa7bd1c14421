"""Which tokens LaSagnA's and LISA's training add to those of LLaVA v1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from lasagna.core.prompt_formats import LISA, RELEASED
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import read_state
from lasagna.modules.checkpoints.released.adapters import TOWER
from lasagna.modules.llava.text_processor import IMAGE_END, IMAGE_START
from lasagna.modules.llava.tokenizer import LlavaTokenizer

ADDED: Final = {
    "LaSagnA": (*RELEASED.markers, RELEASED.present_token, RELEASED.absent_token, IMAGE_START, IMAGE_END),
    "LISA": (LISA.present_token, IMAGE_START, IMAGE_END),
    "LLaVA v1": (),
}
"""Model to what its training adds, in its order, where the base has it not yet."""


def is_lisa(tokenizer: LlavaTokenizer) -> bool:
    """Say whether a tokeniser is that of LISA, which has one token for what is there, and none for what is not."""
    return LISA.present_token in tokenizer.added and RELEASED.present_token not in tokenizer.added


def tokenizer_of(rows: int, base: LlavaTokenizer, folder: Path) -> LlavaTokenizer:
    """Return the tokeniser of a training state, which holds none: told by how many tokens it has more than its base.

    Args:
        rows: Rows of the state's word embedding.
        base: Tokeniser of the model that training began from.
        folder: Its folder, for the message.

    Raises:
        CheckpointError: If no training that is known leads from one to the other.
    """
    grown = {name: base.with_tokens(tokens) for name, tokens in ADDED.items()}
    found = next((tokenizer for tokenizer in grown.values() if len(tokenizer) == rows), None)
    if found is None:
        known = ", ".join(f"{name} {len(tokenizer)}" for name, tokenizer in grown.items())
        raise CheckpointError(
            f"base: the state has {rows} words, with the tokeniser of {str(folder)!r} there are: {known}; give the "
            "folder of the model that training began from"
        )
    return found


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
