"""The tokens that LaSagnA's and LISA's training add to LLaVA v1, and a check of the CLIP tower inside a state."""

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
"""Model to the tokens that its training adds, in order, if the base does not have them yet."""


def is_lisa(tokenizer: LlavaTokenizer) -> bool:
    """Return whether a tokeniser is that of LISA, which has a present token and no absent token."""
    return LISA.present_token in tokenizer.added and RELEASED.present_token not in tokenizer.added


def tokenizer_of(rows: int, base: LlavaTokenizer, folder: Path) -> LlavaTokenizer:
    """Return the tokeniser of a training state, recognised by how many tokens it has more than its base.

    Args:
        rows: Rows of the state's word embedding.
        base: Tokeniser of the model that training started from.
        folder: Its folder, for the message.

    Raises:
        CheckpointError: If no known training leads from one to the other.
    """
    grown = {name: base.with_tokens(tokens) for name, tokens in ADDED.items()}
    found = next((tokenizer for tokenizer in grown.values() if len(tokenizer) == rows), None)
    if found is None:
        known = ", ".join(f"{name} {len(tokenizer)}" for name, tokenizer in grown.items())
        raise CheckpointError(
            f"base: the state has {rows} words, but with the tokeniser of {str(folder)!r} there are: {known}; give the "
            "folder of the model that training started from"
        )
    return found


_VISION_MODEL = "vision_model."
_TOLERANCE = 0.01
"""Largest distance from the folder's tensor, relative to its norm: covers the rounding of half precision."""


def check_tower(state: Mapping[str, Tensor], folder: Path) -> None:
    """Compare the tower inside a state, if there is one, with that of the folder, which is read instead.

    Args:
        state: Tensors by a release's names.
        folder: Folder of the CLIP tower.

    Raises:
        CheckpointError: If they are different towers.
    """
    inside = {
        name.rpartition(_VISION_MODEL)[2]: value
        for name, value in state.items()
        if TOWER in name and _VISION_MODEL in name
    }
    if not inside:
        return
    own = {name.rpartition(_VISION_MODEL)[2]: value for name, value in read_state(folder, "vision_tower").items()}
    differing = [name for name in inside if name in own and not _nearly_equal(inside[name], own[name])]
    if differing:
        raise CheckpointError(
            f"vision_tower: the source was trained with another tower than {str(folder)!r}: {differing[0]} "
            f"differs, and {len(differing) - 1} more; give the folder of the tower it was trained with"
        )


def _nearly_equal(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    distance = (one.float() - other.float()).norm()
    return bool(distance <= _TOLERANCE * other.float().norm())
