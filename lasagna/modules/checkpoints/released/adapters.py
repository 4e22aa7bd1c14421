"""Low-rank adapters of a training state: added into the layers they sit on, or kept as what they are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from lasagna.errors import CheckpointError
from lasagna.modules.language_models.lora import LoRA

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


_ADAPTER = re.compile(r"^(?P<layer>.+)\.lora_(?P<half>[AB])(\.default)?\.weight$")


@dataclass(frozen=True)
class Adapters:
    """The adapters of a state.

    Args:
        pairs: Name of a layer to its two halves, "A" ``[rank, in]`` and "B" ``[out, rank]``.
        alpha: Their alpha, which no state holds.
    """

    pairs: Mapping[str, Mapping[str, Tensor]]
    alpha: float

    @property
    def names(self) -> tuple[str, ...]:
        """Names of their tensors, without what peft puts before and inside them."""
        return tuple(f"{layer}.lora_{half}.weight" for layer, pair in self.pairs.items() for half in sorted(pair))

    @property
    def settings(self) -> LoRA:
        """How a language model is given such adapters; the dropout of their training is not known."""
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
            raise CheckpointError("adapters: the source has none that could be kept; leave adapters out")
        if len(self._ranks) != 1:
            raise CheckpointError(
                f"adapters: to be kept they must have one rank, got {self._ranks}; take adapters: merged"
            )

    @property
    def weights(self) -> dict[str, Tensor]:
        """The halves by an assistant's names."""
        return {
            f"{PARTS[LLAMA]}{layer.removeprefix(LLAMA)}.lora_{half}.default.weight": value
            for layer, pair in self.pairs.items()
            for half, value in pair.items()
        }


def separated(state: Mapping[str, Tensor], alpha: float) -> tuple[dict[str, Tensor], Adapters]:
    """Take the adapters out of a state.

    Args:
        state: Name to weight; adapters are called ``LAYER.lora_A.weight`` or ``LAYER.lora_A.default.weight``.
        alpha: The adapters' alpha.

    Returns:
        All other weights, and the adapters.

    Raises:
        CheckpointError: If half of an adapter, or the layer that it belongs to, is missing, or there are adapters of
            another kind.
    """
    pairs: dict[str, dict[str, Tensor]] = {}
    plain = {}
    for name, value in state.items():
        if found := _ADAPTER.match(name):
            pairs.setdefault(found["layer"], {})[found["half"]] = value
        elif ".lora_" in name:
            raise CheckpointError(
                f"adapters: {name} is of another kind than lora_A and lora_B of linear layers, and would be left out; "
                "merge it by peft, and import what comes of that"
            )
        else:
            plain[name.replace(".base_layer.", ".")] = value
    for layer, pair in pairs.items():
        if pair.keys() != {"A", "B"} or f"{layer}.weight" not in plain:
            raise CheckpointError(f"adapters: {layer} lacks lora_A, lora_B or its own weight; give the whole state")
    return plain, Adapters(pairs, alpha)


def merged(plain: Mapping[str, Tensor], adapters: Adapters) -> dict[str, Tensor]:
    """Return weights with their adapters added: ``W + alpha / rank * B A`` (arXiv 2106.09685).

    Args:
        plain: Name to weight.
        adapters: What belongs to them; the rank is that of their shapes.
    """
    state = dict(plain)
    for layer, pair in adapters.pairs.items():
        weight = f"{layer}.weight"
        update = (pair["B"].float() @ pair["A"].float()) * (adapters.alpha / len(pair["A"]))
        state[weight] = (state[weight].float() + update).to(state[weight].dtype)
    return state
