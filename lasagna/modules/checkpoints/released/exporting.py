"""A trained assistant of LLaVA v1 and SAM as a folder in the released layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lasagna.core.prompt_formats import LISA
from lasagna.errors import CheckpointError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.files import read_state
from lasagna.modules.checkpoints.released.adapters import WORDS, merged, separated, to_released
from lasagna.modules.checkpoints.released.folder import SHARD_SIZE, write_release
from lasagna.modules.checkpoints.released.reload import check_tokens
from lasagna.modules.checkpoints.released.tokens import is_lisa
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.llava.settings import find_tower
from lasagna.modules.llava.text_processor import LlavaTextProcessor
from lasagna.modules.llava.tokenizer import read_tokenizer
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

_OWN_WORDS = ("language_model.llama.model.embed_tokens.weight", "language_model.llama.lm_head.weight")
"""What has a row for each word, by an assistant's names."""


def export_release(
    assistant: Assistant, folder: Path, trained: Collection[str] = (), shard_size: str = SHARD_SIZE
) -> list[Path]:
    """Write an assistant in the layout that LaSagnA's code reads, adapters merged, the CLIP tower left out.

    Args:
        assistant: The assistant, built.
        folder: A new or empty folder.
        trained: Names of the weights that training has changed.
        shard_size: How large one file of weights may be.

    Returns:
        The files.

    Raises:
        CheckpointError: If its parts or its tokens are others than the layout has a place for.
    """
    language_model = check_parts(assistant)
    adapter = language_model.adapter
    state = to_released(merged(*separated(assistant.state_dict(), 0.0 if adapter is None else adapter.alpha)))
    text_processor = language_model.text_processor
    assert isinstance(text_processor, LlavaTextProcessor)
    check_tokens(assistant, text_processor.tokenizer)
    source = Path(language_model.folder)
    settings = {**_with_tower(language_model, folder), "out_dim": assistant.mask_head.prompt_dim}
    before = read_state(source)
    rows = _words(language_model, text_processor, trained)
    tokenizer = replace(
        text_processor.tokenizer,
        added={word: rank for word, rank in text_processor.tokenizer.added.items() if rank < rows},
    )
    state |= {name: torch.cat([state[name][:rows].cpu(), before[name][rows:].to(state[name].dtype)]) for name in WORDS}
    dtypes = {name: value.dtype for name, value in before.items()}
    return write_release(folder, _on_cpu(state), settings, tokenizer, source, dtypes, shard_size)


def _with_tower(language_model: LlavaV1, folder: Path) -> dict[str, Any]:
    """Return the model's settings with a tower that is found from a new folder too."""
    settings = language_model.settings
    tower = find_tower(Path(language_model.folder), language_model.tower_folder, settings).resolve()
    with suppress(CheckpointError):
        # the name in a release may be found from there as well; then the new folder is like the old one
        if find_tower(folder, None, settings).resolve() == tower:
            return settings
    return {**settings, "mm_vision_tower": str(tower), "vision_tower": str(tower)}


def check_parts(assistant: Assistant) -> LlavaV1:
    """Check that the layout has a place for an assistant's parts, which need not be built; return its language model.

    Raises:
        CheckpointError: If it has not.
    """
    parts = (assistant.vision_encoder, assistant.language_model, assistant.mask_head)
    for part, kind in zip(parts, (SamVisionEncoder, LlavaV1, SamMaskHead), strict=True):
        if not isinstance(part, kind):
            raise CheckpointError(
                f"layout: the released one holds a {kind.__name__}, this assistant has a {type(part).__name__}; "
                "export it with --layout adapter"
            )
    model = assistant.language_model
    assert isinstance(model, LlavaV1)
    if model.quantization is not None:
        raise CheckpointError(
            f"layout: the released one holds whole weights, this assistant's are rounded to {model.quantization}; "
            "export it with --layout adapter"
        )
    return model


def _words(language_model: LlavaV1, text_processor: LlavaTextProcessor, trained: Collection[str]) -> int:
    """Count the words that go out: all, but for a fresh absent token in LISA's layout, which knows none.

    It stands behind all others. What is known of it was trained, or came with the folder that was loaded.
    """
    tokenizer = text_processor.tokenizer
    fresh = LISA.absent_token not in read_tokenizer(Path(language_model.folder)).added
    if is_lisa(tokenizer) and fresh and not {*trained} & {*_OWN_WORDS}:
        return tokenizer.added[LISA.absent_token]
    return int(language_model.llama.config.vocab_size)


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in state.items()}
