"""Low-rank adapters, added into the layers they sit on."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from lasagna.errors import CheckpointError

_ADAPTER = re.compile(r"^(?P<layer>.+)\.lora_(?P<half>[AB])(\.default)?\.weight$")


def merged(state: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Return weights with their adapters added: ``W + alpha / rank * B A`` (arXiv 2106.09685).

    Args:
        state: Name to weight; adapters are called ``LAYER.lora_A.weight`` or ``LAYER.lora_A.default.weight``.
        alpha: The adapters' alpha; the rank is that of their shapes.

    Raises:
        CheckpointError: If half of an adapter, or the layer that it belongs to, is missing.
    """
    halves: dict[str, dict[str, Tensor]] = {}
    plain = {}
    for name, value in state.items():
        if found := _ADAPTER.match(name):
            halves.setdefault(found["layer"], {})[found["half"]] = value
        else:
            plain[name.replace(".base_layer.", ".")] = value
    for layer, pair in halves.items():
        weight = f"{layer}.weight"
        if pair.keys() != {"A", "B"} or weight not in plain:
            raise CheckpointError(f"adapters: {layer} lacks lora_A, lora_B or its own weight; give the whole state")
        scale = alpha / len(pair["A"])
        update = (pair["B"].float() @ pair["A"].float()) * scale
        plain[weight] = (plain[weight].float() + update).to(plain[weight].dtype)
    return plain
