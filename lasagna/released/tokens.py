"""Which tokens LaSagnA's and LISA's training add to those of LLaVA v1."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lasagna.core.prompt_formats import LISA, RELEASED
from lasagna.errors import CheckpointError
from lasagna.modules.llava.text_preparation import IMAGE_END, IMAGE_START
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
