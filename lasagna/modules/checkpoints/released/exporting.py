"""Export of a trained assistant of LLaVA v1 and SAM to a folder in the released layout."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

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
"""Tensors with one row for each word, by an assistant's names."""


def export_release(
    assistant: Assistant, folder: Path, trained: Collection[str] = (), shard_size: str = SHARD_SIZE
) -> list[Path]:
    """Write an assistant in the layout that LaSagnA's code reads, with adapters merged and without the CLIP tower.

    Args:
        assistant: The assistant, built.
        folder: A new or empty folder.
        trained: Names of the weights that training has changed.
        shard_size: Largest size of one file of weights.

    Returns:
        The files.

    Raises:
        CheckpointError: If the layout cannot hold its parts or its tokens.
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
    rows = _exported_words(language_model, text_processor, trained)
    tokenizer = replace(
        text_processor.tokenizer,
        added={word: rank for word, rank in text_processor.tokenizer.added.items() if rank < rows},
    )
    state |= {name: torch.cat([state[name][:rows].cpu(), before[name][rows:].to(state[name].dtype)]) for name in WORDS}
    dtypes = {name: value.dtype for name, value in before.items()}
    state = {name: value.detach().cpu() for name, value in state.items()}
    return write_release(folder, state, settings, tokenizer, source, dtypes, shard_size)


def _with_tower(language_model: LlavaV1, folder: Path) -> dict[str, Any]:
    """Return the model's settings with a tower that can also be found from a new folder."""
    settings = language_model.settings
    tower = find_tower(Path(language_model.folder), language_model.tower_folder, settings).resolve()
    with suppress(CheckpointError):
        # if the tower's name in the release also resolves from there, the settings can stay as they are
        if find_tower(folder, None, settings).resolve() == tower:
            return settings
    return {**settings, "mm_vision_tower": str(tower), "vision_tower": str(tower)}


def check_parts(assistant: Assistant) -> LlavaV1:
    """Check that the layout can hold an assistant's parts, which need not be built; return its language model.

    Raises:
        CheckpointError: If it cannot.
    """
    parts = (assistant.vision_encoder, assistant.language_model, assistant.mask_head)
    for part, kind in zip(parts, (SamVisionEncoder, LlavaV1, SamMaskHead), strict=True):
        if not isinstance(part, kind):
            raise CheckpointError(
                f"layout: the released one holds a {kind.__name__}, but this assistant has a {type(part).__name__}; "
                "export it with --layout adapter"
            )
    encoder, model, head = parts
    assert isinstance(encoder, SamVisionEncoder)
    assert isinstance(model, LlavaV1)
    assert isinstance(head, SamMaskHead)
    further = {
        "adapters of a vision encoder": encoder.adapter,
        "neck before a mask head": head.has_neck,
        "comparison of images": assistant.comparison,
        "presence head": assistant.presence_head,
    }
    for words, found in further.items():
        if found:
            raise CheckpointError(f"layout: the released one holds no {words}; export it with --layout adapter")
    if model.quantization is not None:
        raise CheckpointError(
            f"layout: the released one holds full weights, but this assistant's are quantized ({model.quantization}); "
            "export it with --layout adapter"
        )
    return model


def _exported_words(language_model: LlavaV1, text_processor: LlavaTextProcessor, trained: Collection[str]) -> int:
    """Count the words to export: all, except an untrained absent token in LISA's layout, which has none.

    That token comes after all others. It is kept if it was trained, or was in the folder that was loaded.
    """
    tokenizer = text_processor.tokenizer
    is_new = LISA.absent_token not in read_tokenizer(Path(language_model.folder)).added
    if is_lisa(tokenizer) and is_new and not {*trained} & {*_OWN_WORDS}:
        return tokenizer.added[LISA.absent_token]
    return int(language_model.llama.config.vocab_size)
