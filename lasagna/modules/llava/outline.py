"""The tensors of a LLaVA v1 by its config alone, for plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from lasagna.core.weights import blanks
from lasagna.modules.llava.settings import llama_config


def blank_state(settings: Mapping[str, Any], tower: Mapping[str, Any], tokens: int) -> dict[str, Tensor]:
    """Return zeros, which take no memory, in the place of a checkpoint's tensors.

    Args:
        settings: The checkpoint's ``config.json``.
        tower: Settings of its visual tower.
        tokens: Number of tokens of its tokeniser.
    """
    with torch.device("meta"):
        llama = LlamaForCausalLM(llama_config(settings, tokens))
        projector = nn.Linear(tower["hidden_size"], settings["hidden_size"])
    return {**blanks(llama), **blanks(projector, "model.mm_projector.")}
