"""A model in the released layout, or a training state of one, read with a report on its tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import read_state
from lasagna.modules.checkpoints.released import KeptOrMerged
from lasagna.modules.checkpoints.released.adapters import (
    PARTS,
    PROJECTION,
    VISUAL,
    WORDS,
    Adapters,
    merged,
    separated,
    unwrapped,
)
from lasagna.modules.checkpoints.released.tensor_report import TensorReport, tensor_report
from lasagna.modules.checkpoints.released.tokens import check_tower, tokenizer_of
from lasagna.modules.llava.settings import find_tower, read_settings
from lasagna.modules.llava.tokenizer import LlavaTokenizer, read_tokenizer
from lasagna.modules.llava.tower import tower_settings
from lasagna.modules.sam.weights import split_sam


@dataclass(frozen=True)
class Release:
    """A model in the released layout.

    Args:
        state: Tensors by a release's names, without adapters.
        settings: Content of ``config.json``.
        tower: Folder of the CLIP tower.
        tokenizer: The tokeniser that belongs to the tensors.
        tensor_report: What happens to each tensor.
        kept: Adapters that are not merged.
    """

    state: dict[str, Tensor]
    settings: dict[str, Any]
    tower: Path
    tokenizer: LlavaTokenizer
    tensor_report: TensorReport
    kept: Adapters

    @property
    def projection(self) -> dict[str, Tensor]:
        """The projection from hidden states to prompts, which belongs to no part, by the assistant's names."""
        return {
            name.replace(PROJECTION, PARTS[PROJECTION]): value
            for name, value in self.state.items()
            if name.startswith(PROJECTION)
        }


def read_release(
    place: Path,
    folder: Path,
    vision_tower: str | None = None,
    sam: str | None = None,
    lora_alpha: float = 16.0,
    adapters: KeptOrMerged = "merged",
) -> Release:
    """Read a model and report on every tensor.

    Args:
        place: File or folder of the tensors.
        folder: Folder of the config and the tokeniser.
        vision_tower: Folder of the CLIP tower; None for the one in the config.
        sam: Original checkpoint of SAM, if the model has none.
        lora_alpha: Alpha of adapters, if there are any.
        adapters: Whether these are merged or kept.

    Returns:
        The model.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit.
    """
    settings = read_settings(folder)
    layers, own = separated(unwrapped(read_state(place, "source")), lora_alpha)
    state = merged(layers, own) if adapters == "merged" else layers
    if adapters == "kept":
        own.check()
    tower = find_tower(folder, vision_tower, settings)
    width = int(tower_settings(tower)["hidden_size"])
    visual, others = _visual(place, state, sam)
    tokenizer = read_tokenizer(folder)
    if place != folder and WORDS[0] in state:  # a training state may have more tokens than its base
        tokenizer = tokenizer_of(len(state[WORDS[0]]), tokenizer, folder)
    found = tensor_report({**state, **visual}, settings, width, tokenizer, f"source: the SAM in {sam or place}")
    found.check(str(place))
    check_tower(state, tower)
    kept = replace(own, pairs={}) if adapters == "merged" else own
    return Release(state, settings, tower, tokenizer, found.with_others(own.names, others), kept)


def _visual(place: Path, state: dict[str, Tensor], sam: str | None) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return SAM's tensors from its own file if the source has none, and the names of the other tensors in it."""
    if any(name.startswith("image_encoder.") for name in state):
        raise CheckpointError(
            f"source: {str(place)!r} is only a SAM; give it as sam, and the folder of LLaVA v1 as source"
        )
    inside = any(name.startswith(VISUAL) for name in state)
    if inside and sam is not None:
        raise CheckpointError(f"sam: the source has its own SAM, so {sam!r} would not be used; leave it out")
    if not inside and sam is None:
        raise CheckpointError("sam: the source has no SAM; give an original checkpoint such as sam_vit_h_4b8939.pth")
    if sam is None:
        return {}, ()
    visual, others = split_sam(sam, "sam")
    return {VISUAL + name: value for name, value in visual.items()}, others
