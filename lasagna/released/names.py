"""Names of tensors: in a release, and in an assistant of LLaVA v1 and SAM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor

LLAMA: Final = "model."
"""What the names of the Llama's own layers begin with in a release."""

PARTS: Final = {
    "model.visual_model.image_encoder.": "vision_encoder.image_encoder.",
    "model.visual_model.prompt_encoder.": "mask_head.prompt_encoder.",
    "model.visual_model.mask_decoder.": "mask_head.mask_decoder.",
    "model.text_hidden_fcs.0.": "prompt_projection.",
    "model.mm_projector.": "language_model.mm_projector.",
    LLAMA: "language_model.llama.model.",
    "lm_head.": "language_model.llama.lm_head.",
}
"""What names begin with in a release, and in an assistant; the first that fits counts."""

PROJECTION: Final = "model.text_hidden_fcs.0."
VISUAL: Final = "model.visual_model."
WORDS: Final = ("model.embed_tokens.weight", "lm_head.weight")
"""What has a row for each word."""

WRAPPED: Final = "base_model.model."
"""What peft puts before the names of a training state."""
PARALLEL: Final = "module."
"""What torch's and DeepSpeed's wrappers put before all names."""

ROTARY: Final = "rotary_emb.inv_freq"
TOWER: Final = "vision_tower."
IGNORED: Final = {
    ROTARY: "computed from the config",
    TOWER: "read from the tower's own folder",
    "pixel_mean": "SAM's preparation has it",
    "pixel_std": "SAM's preparation has it",
}
"""Part of a name to the reason why such tensors are not read."""


def to_released(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Name an assistant's weights as a release does; leaves out what a release does not hold.

    Args:
        weights: Assistant's name to weight.
    """
    named = {}
    for name, value in weights.items():
        theirs = next((theirs for theirs, ours in PARTS.items() if name.startswith(ours)), None)
        if theirs is not None:
            named[theirs + name.removeprefix(PARTS[theirs])] = value
    return named


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off what data-parallel training and peft have put before the names."""
    outer = PARALLEL if all(name.startswith(PARALLEL) for name in state) else ""
    return {name.removeprefix(outer).removeprefix(WRAPPED): value for name, value in state.items()}


def ignored_because(name: str) -> str | None:
    """Say why a tensor of a release is not read, or None if it is not one of those."""
    return next((reason for part, reason in IGNORED.items() if part in name), None)
