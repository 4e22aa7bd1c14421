"""Low-rank adapters under the names of peft's own files (peft, "PEFT checkpoint format")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

ROOT = "base_model.model."
"""What peft puts before the adapted model's own names."""

_OURS = re.compile(r"\.(lora_[A-Za-z_]+)\.default(?=\.|$)")
_THEIRS = re.compile(r"\.(lora_[A-Za-z_]+)(?=\.|$)")


def adapted_model(assistant: nn.Module) -> tuple[str, Any] | None:
    """Find the model that carries adapters.

    Returns:
        What its weights' names begin with, ending with a dot, and its peft config; None without adapters.
    """
    for name, module in assistant.named_modules():
        configs = getattr(module, "peft_config", None)
        if isinstance(configs, Mapping) and "default" in configs:
            return f"{name}.", configs["default"]
    return None


def to_peft(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Pick the adapters out of an assistant's weights, and name them as peft does.

    Args:
        weights: Name to weight.
        prefix: What the adapted model's names begin with.
    """
    own = {name: value for name, value in weights.items() if name.startswith(prefix) and _OURS.search(name)}
    return {ROOT + _OURS.sub(r".\1", name.removeprefix(prefix)): value for name, value in own.items()}


def from_peft(adapters: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Name adapters as the assistant does; the reverse of ``to_peft``."""
    return {prefix + _THEIRS.sub(r".\1.default", name.removeprefix(ROOT)): value for name, value in adapters.items()}
