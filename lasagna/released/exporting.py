"""A trained assistant of LLaVA v1 and SAM as a folder in the released layout."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from lasagna.errors import CheckpointError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoint_folder import read_state
from lasagna.modules.llava import LlavaV1
from lasagna.modules.llava.settings import find_tower
from lasagna.modules.llava.text_preparation import LlavaPreparation
from lasagna.modules.llava.tokenizer import LlavaTokenizer
from lasagna.modules.sam import SamMaskHead, SamVisionEncoder
from lasagna.prompt_formats import LISA
from lasagna.released.adapters import merged, separated
from lasagna.released.folder import write_release
from lasagna.released.names import WORDS, to_released
from lasagna.released.reload import check_tokens
from lasagna.released.tokens import is_lisa

_OWN_WORDS = ("language_model.llama.model.embed_tokens.weight", "language_model.llama.lm_head.weight")
"""What has a row for each word, by an assistant's names."""


def export_release(assistant: Assistant, folder: Path, trained: Collection[str] = ()) -> list[Path]:
    """Write an assistant in the layout that LaSagnA's code reads, adapters merged, the CLIP tower left out.

    Args:
        assistant: The assistant, built.
        folder: A new or empty folder.
        trained: Names of the weights that training has changed.

    Returns:
        The files.

    Raises:
        CheckpointError: If its parts or its tokens are others than the layout has a place for.
    """
    language_model = check_parts(assistant)
    adapter = language_model.adapter
    state = to_released(merged(*separated(assistant.state_dict(), 0.0 if adapter is None else adapter.alpha)))
    preparation = language_model.preparation
    assert isinstance(preparation, LlavaPreparation)
    check_tokens(assistant, preparation.tokenizer)
    source = Path(language_model.folder)
    settings = {**_with_tower(language_model, folder), "out_dim": assistant.mask_head.prompt_dim}
    before = read_state(source)
    if not _knows_absence(trained, before, preparation.tokenizer):
        state = _without_absent(state, preparation.tokenizer)
    dtypes = {name: value.dtype for name, value in before.items()}
    return write_release(folder, _on_cpu(state), settings, preparation.tokenizer, source, dtypes)


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


def _knows_absence(trained: Collection[str], before: Mapping[str, Tensor], tokenizer: LlavaTokenizer) -> bool:
    """Say whether the row of the absent token is more than fresh: trained, or brought by the folder that was loaded."""
    rows = min(len(before[name]) for name in WORDS)
    return any(name in trained for name in _OWN_WORDS) or rows > tokenizer.added.get(LISA.absent_token, rows)


def _without_absent(state: Mapping[str, Tensor], tokenizer: LlavaTokenizer) -> dict[str, Tensor]:
    """Leave out the row of the absent token in LISA's layout, which knows none; it stands behind all others."""
    rows = tokenizer.added.get(LISA.absent_token) if is_lisa(tokenizer) else None
    return {name: value[:rows] if name in WORDS else value for name, value in state.items()}


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu() for name, value in state.items()}
