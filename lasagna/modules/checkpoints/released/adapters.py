"""Names of tensors in a release and in an assistant, and low-rank adapters: merged into their layers, or kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from lasagna.errors import CheckpointError
from lasagna.modules.language_models.lora import LoRA

LLAMA: Final = "model."
"""Prefix of the Llama's own layers in a release."""

PARTS: Final = {
    "model.visual_model.image_encoder.": "vision_encoder.image_encoder.",
    "model.visual_model.prompt_encoder.": "mask_head.prompt_encoder.",
    "model.visual_model.mask_decoder.": "mask_head.mask_decoder.",
    "model.text_hidden_fcs.0.": "prompt_projection.",
    "model.mm_projector.": "language_model.mm_projector.",
    LLAMA: "language_model.llama.model.",
    "lm_head.": "language_model.llama.lm_head.",
}
"""Prefix in a release to prefix in an assistant; the first that fits counts."""

PROJECTION: Final = "model.text_hidden_fcs.0."
VISUAL: Final = "model.visual_model."
WORDS: Final = ("model.embed_tokens.weight", "lm_head.weight")
"""Tensors with one row for each word."""

WRAPPED: Final = "base_model.model."
"""Peft's prefix of all names of a training state."""

PARALLEL: Final = "module."
"""Prefix of all names by torch's and DeepSpeed's wrappers."""

ROTARY: Final = "rotary_emb.inv_freq"
TOWER: Final = "vision_tower."
IGNORED: Final = {
    ROTARY: "computed from the config",
    TOWER: "read from the tower's own folder",
    "pixel_mean": "part of SAM's image processor",
    "pixel_std": "part of SAM's image processor",
}
"""Part of a name to the reason why such a tensor is not read."""


def to_released(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename an assistant's weights to a release's names; those that a release does not hold are left out.

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
    """Remove the prefixes that data-parallel training and peft add to all names."""
    outer = PARALLEL if all(name.startswith(PARALLEL) for name in state) else ""
    return {name.removeprefix(outer).removeprefix(WRAPPED): value for name, value in state.items()}


def ignored_because(name: str) -> str | None:
    """Return why a tensor of a release is not read, or None if there is no such reason."""
    return next((reason for part, reason in IGNORED.items() if part in name), None)


_ADAPTER = re.compile(r"^(?P<layer>.+)\.lora_(?P<matrix>[AB])(\.default)?\.weight$")


@dataclass(frozen=True)
class Adapters:
    """The adapters of a state.

    Args:
        pairs: Name of a layer to its two matrices, "A" ``[rank, in]`` and "B" ``[out, rank]``.
        alpha: Their alpha, which a state does not hold.
    """

    pairs: Mapping[str, Mapping[str, Tensor]]
    alpha: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of their tensors, without what peft adds to them."""
        return tuple(f"{layer}.lora_{matrix}.weight" for layer, pair in self.pairs.items() for matrix in sorted(pair))

    @property
    def settings(self) -> LoRA:
        """Settings for a language model with such adapters; the dropout of their training is unknown."""
        targets = sorted({layer.rpartition(".")[2] for layer in self.pairs})
        return LoRA(rank=self._ranks[0], alpha=self.alpha, targets=targets)

    @property
    def _ranks(self) -> list[int]:
        return sorted({len(pair["A"]) for pair in self.pairs.values()})

    def check(self) -> None:
        """Check that they can be kept.

        Raises:
            CheckpointError: If there are none, or their ranks differ.
        """
        if not self.pairs:
            raise CheckpointError("adapters: the source has none to keep; leave this argument out")
        if len(self._ranks) != 1:
            raise CheckpointError(
                f"adapters: to be kept, all must have the same rank, got {self._ranks}; use adapters: merged"
            )

    @property
    def weights(self) -> dict[str, Tensor]:
        """Their matrices by an assistant's names."""
        return {
            f"{PARTS[LLAMA]}{layer.removeprefix(LLAMA)}.lora_{matrix}.default.weight": value
            for layer, pair in self.pairs.items()
            for matrix, value in pair.items()
        }


def separated(state: Mapping[str, Tensor], alpha: float) -> tuple[dict[str, Tensor], Adapters]:
    """Separate the adapters of a state from its other weights.

    Args:
        state: Name to weight; adapters are called ``LAYER.lora_A.weight`` or ``LAYER.lora_A.default.weight``.
        alpha: The adapters' alpha.

    Returns:
        All other weights, and the adapters.

    Raises:
        CheckpointError: If a matrix of an adapter or the weight of its layer is missing, or there are adapters of
            another kind.
    """
    pairs: dict[str, dict[str, Tensor]] = {}
    plain = {}
    for name, value in state.items():
        if found := _ADAPTER.match(name):
            pairs.setdefault(found["layer"], {})[found["matrix"]] = value
        elif ".lora_" in name:
            raise CheckpointError(
                f"adapters: {name} is of another kind than lora_A and lora_B of linear layers and cannot be imported; "
                "merge it with peft, and import the result"
            )
        else:
            plain[name.replace(".base_layer.", ".")] = value
    for layer, pair in pairs.items():
        if pair.keys() != {"A", "B"} or f"{layer}.weight" not in plain:
            raise CheckpointError(f"adapters: {layer} lacks lora_A, lora_B or its own weight; give the complete state")
    return plain, Adapters(pairs, alpha)


def merged(plain: Mapping[str, Tensor], adapters: Adapters) -> dict[str, Tensor]:
    """Merge adapters into the weights of their layers: ``W + alpha / rank * B A`` (arXiv 2106.09685).

    Args:
        plain: Name to weight.
        adapters: Their adapters; the rank is that of their shapes.

    Returns:
        Name to weight.
    """
    state = dict(plain)
    for layer, pair in adapters.pairs.items():
        weight = f"{layer}.weight"
        update = (pair["B"].float() @ pair["A"].float()) * (adapters.alpha / len(pair["A"]))
        state[weight] = (state[weight].float() + update).to(state[weight].dtype)
    return state
