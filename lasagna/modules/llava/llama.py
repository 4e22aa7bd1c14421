"""The Llama of a LLaVA v1 checkpoint, with rows for further tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from lasagna.modules.checkpoint_folder import fill, fitting
from lasagna.modules.llava.settings import llama_config
from lasagna.modules.pretrained import Quantization, bits

_BY_TOKEN = ("model.embed_tokens.weight", "lm_head.weight")


def make_llama(
    settings: Mapping[str, Any],
    state: Mapping[str, Tensor],
    vocabulary: int,
    source: str,
    dtype: torch.dtype | None = None,
    quantization: Quantization | None = None,
) -> LlamaForCausalLM:
    """Make a Llama that takes its weights from a state dict.

    Args:
        settings: The checkpoint's settings.
        state: Its tensors; those of other parts are left alone.
        vocabulary: Number of tokens. Word embedding and output layer get fresh rows for those that the checkpoint does
            not have, drawn as Llama's layers are (normal, deviation 0.02); rows behind the last token are left out.
        source: Setting and place the tensors come from, for messages.
        dtype: Precision of the weights; None for torch's default.
        quantization: Whether linear layers are held in 4 or 8 bits, through bitsandbytes on a GPU.

    Raises:
        CheckpointError: If tensors are missing or of another shape.
    """
    config = llama_config(settings, vocabulary)
    with torch.device("meta"):
        llama = LlamaForCausalLM(config)
    fitted = {name: _rows(state[name], vocabulary, config.initializer_range) for name in _BY_TOKEN if name in state}
    if quantization is None:
        fill(llama, {**state, **fitted}, source, dtype=dtype)
        renew_positions(llama)
        return llama
    own = fitting(llama, {**state, **fitted}, source)
    made: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(
        None,
        config=config,
        state_dict=own,
        dtype=dtype or torch.get_default_dtype(),
        quantization_config=bits(quantization),
    )
    return made


def renew_positions(llama: LlamaForCausalLM) -> None:
    """Compute the frequencies of the rotary positions, which no checkpoint holds, in full precision.

    In half precision they would turn late positions by a wrong angle.
    """
    with llama.device:
        llama.model.rotary_emb = type(llama.model.rotary_emb)(llama.config)


def _rows(weight: Tensor, count: int, deviation: float) -> Tensor:
    fresh = torch.randn(max(0, count - len(weight)), weight.shape[1]) * deviation
    return torch.cat([weight[:count], fresh.to(weight)])
