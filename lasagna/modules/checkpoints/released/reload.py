"""How an exported release is loaded again, and what of an assistant it does not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from lasagna.core.prompt_format import PromptFormat
from lasagna.core.prompt_formats import LISA, PROMPT_FORMATS
from lasagna.errors import CheckpointError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.released.tokens import is_lisa
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.llava.text_processor import added_tokens
from lasagna.modules.llava.tokenizer import LlavaTokenizer, read_tokenizer


def format_of(tokenizer: LlavaTokenizer) -> str:
    """Return the name of the prompt format with which a folder with this tokeniser is loaded."""
    return "lisa" if is_lisa(tokenizer) else "released"


def with_added_tokens(tokenizer: LlavaTokenizer) -> LlavaTokenizer:
    """Return a folder's tokeniser as it is after loading, with the added tokens."""
    usual = PROMPT_FORMATS[format_of(tokenizer)]
    return tokenizer.with_tokens(added_tokens(usual.markers, usual.present_token, usual.absent_token))


def check_tokens(assistant: Assistant, tokenizer: LlavaTokenizer) -> None:
    """Check that an assistant has the tokens with which its exported folder would be loaded.

    Args:
        assistant: The assistant, built.
        tokenizer: Its tokeniser.

    Raises:
        CheckpointError: If it has others.
    """
    usual = PROMPT_FORMATS[format_of(tokenizer)]
    if assistant.format.special_tokens != usual.special_tokens:
        raise CheckpointError(
            f"layout: a released folder with these words is loaded with the tokens {list(usual.special_tokens)}, but "
            f"this assistant writes {assistant.format.present_token!r} and {assistant.format.absent_token!r}; export "
            "it with --layout adapter"
        )


def remarks(assistant: Assistant, folder: Path) -> list[str]:
    """List how an exported folder differs from the assistant, or from the folders of the layout's authors.

    Args:
        assistant: The assistant that was exported.
        folder: The exported folder.

    Returns:
        One sentence for each difference.
    """
    tokenizer = read_tokenizer(folder)
    lost = ", ".join(_lost(assistant, PROMPT_FORMATS[format_of(tokenizer)]))
    differences = [f"the released layout cannot hold {lost}; set it again when the folder is loaded"] if lost else []
    model = assistant.language_model
    if isinstance(model, LlavaV1) and model.weights_dtype == torch.bfloat16:
        differences.append("weights are rounded by dtype: bfloat16; without it they are those of the source's files")
    if is_lisa(tokenizer) and LISA.absent_token in tokenizer.added:
        differences.append(f"{LISA.absent_token} is kept, since it was trained; LISA itself does not have this word")
    return differences


def _lost(assistant: Assistant, usual: PromptFormat) -> list[str]:
    model = assistant.language_model
    assert isinstance(model, LlavaV1)
    settings = {
        "centre_crop": (model.centre_crop, True),
        "max_length": (model.max_length, None),
        "mask_threshold": (assistant.mask_threshold, 0.5),
        "presence_threshold": (assistant.presence_threshold, 0.5),
        "presence_temperature": (assistant.presence_temperature, 1.0),
        "empty_masks": (assistant.empty_masks, "present"),
        "max_new_tokens": (assistant.max_new_tokens, None),
        "longest_list": (assistant.longest_list, None),
    }
    lost = [f"{name}: {value}" for name, (value, default) in settings.items() if value != default]
    wordings = replace(assistant.format, reserved_tokens=usual.reserved_tokens) != usual
    return [*lost, "prompt_format (its wordings)"] if wordings else lost
