"""The Llama of a LLaVA v1 checkpoint, with rows for further tokens."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import fill, fitting
from lasagna.modules.language_models.pretrained import Quantization, bits
from lasagna.modules.llava.settings import llama_config

_BY_TOKEN = ("model.embed_tokens.weight", "lm_head.weight")

_ELSEWHERE = ("model.visual_model.", "model.text_hidden_fcs.", ".vision_tower.", ".rotary_emb.inv_freq")
"""Parts of the names of a release's tensors that other parts read, or that follow from the config."""

_SHOWN = 4


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


def check_rows(state: Mapping[str, Tensor], tokens: int, source: str) -> None:
    """Check that all tokens of a checkpoint's tokeniser have rows in its word embedding and output layer.

    Args:
        state: Its tensors.
        tokens: Number of tokens.
        source: Setting and place the tensors come from, for the message.

    Raises:
        CheckpointError: If not, since the words without one would be random.
    """
    for name in _BY_TOKEN:
        if name in state and len(state[name]) < tokens:
            raise CheckpointError(
                f"{source} does not fit its tokeniser: {name} has {len(state[name])} rows for {tokens} tokens; take "
                "weights, tokenizer.model and added_tokens.json from one folder"
            )


def warn_of_unknown(state: Mapping[str, Tensor], known: Collection[str], source: str) -> None:
    """Warn of tensors that nothing reads.

    Args:
        state: A checkpoint's tensors.
        known: Names of those that are read.
        source: Setting and place they come from, for the message.
    """
    unknown = [name for name in state if name not in known and not any(part in name for part in _ELSEWHERE)]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        warnings.warn(f"{source} holds tensors that nothing reads: {', '.join(unknown[:_SHOWN])}{more}", stacklevel=2)


def renew_positions(llama: LlamaForCausalLM) -> None:
    """Compute the frequencies of the rotary positions, which no checkpoint holds, in full precision.

    In half precision they would turn late positions by a wrong angle.
    """
    with llama.device:
        llama.model.rotary_emb = type(llama.model.rotary_emb)(llama.config)


def _rows(weight: Tensor, count: int, deviation: float) -> Tensor:
    fresh = torch.randn(max(0, count - len(weight)), weight.shape[1]) * deviation
    return torch.cat([weight[:count], fresh.to(weight)])
