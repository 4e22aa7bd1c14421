"""A folder in the released layout: weights, config and tokeniser, as the original's merge script writes them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor

from lasagna.core.storage import whole_file, write_json
from lasagna.errors import ConfigError
from lasagna.modules.checkpoints.released.adapters import ROTARY
from lasagna.modules.checkpoints.released.tokens import is_lisa
from lasagna.modules.llava.tokenizer import LlavaTokenizer

COPIED = ("tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json")
"""Files that are the same before and after training."""

SHARD_SIZE = "5GB"
"""Largest size of one file of weights."""


def write_release(
    folder: Path,
    state: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    tokenizer: LlavaTokenizer,
    base: Path,
    dtypes: Mapping[str, torch.dtype] | None = None,
    shard_size: str = SHARD_SIZE,
) -> list[Path]:
    """Write a model in the released layout.

    Args:
        folder: A new or empty folder.
        state: Tensors by a release's names; rotary frequencies are added.
        settings: Content of ``config.json``; the size of the vocabulary is that of the state.
        tokenizer: The tokeniser with its added tokens, each of which has a row.
        base: Folder of the model that this one was trained from, for the files that stay the same.
        dtypes: Name to the precision of a tensor in ``base``; it is restored where that is lossless.
        shard_size: Largest size of one file of weights; larger models are split, with an index.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = len(state["model.embed_tokens.weight"])
    dtypes = dtypes or {}
    stored = {name: _in_precision(value, dtypes.get(name)) for name, value in state.items()}
    # a release has these in the precision of the rest; they follow from the config in any case
    stored |= {name: value.to(dtypes.get(name, value.dtype)) for name, value in rotary(settings).items()}
    _write_weights(folder, stored, shard_size)
    architecture = "LISAForCausalLM" if is_lisa(tokenizer) else "LaSagnAForCausalLM"
    config = {**settings, "vocab_size": words, "architectures": [architecture], "train_mask_decoder": True}
    _write(folder / "config.json", config)
    _write(folder / "added_tokens.json", tokenizer.added)
    for name in COPIED:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    return sorted(folder.iterdir())


def check_shard_size(shard_size: str) -> None:
    """Check the notation of a size of files.

    Raises:
        ConfigError: If it is not valid.
    """
    try:
        split_torch_state_dict_into_shards({}, max_shard_size=shard_size)
    except ValueError as error:
        raise ConfigError(f"shard_size: expected a size such as 5GB or 500MB, got {shard_size!r}") from error


def _write_weights(folder: Path, state: Mapping[str, Tensor], shard_size: str) -> None:
    plan = split_torch_state_dict_into_shards(
        dict(state), filename_pattern="pytorch_model{suffix}.bin", max_shard_size=shard_size
    )
    for file, names in plan.filename_to_tensors.items():
        with whole_file(folder / file) as draft, draft.open("wb") as stream:
            torch.save({name: state[name] for name in names}, stream)
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        _write(folder / "pytorch_model.bin.index.json", index)


def rotary(settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the rotary frequencies, which a release holds for each layer although they follow from the config."""
    width = int(settings["hidden_size"]) // int(settings["num_attention_heads"])
    base = float(settings.get("rope_theta") or 10000.0)
    frequencies = 1.0 / (base ** (torch.arange(0, width, 2).float() / width))
    layers = range(int(settings["num_hidden_layers"]))
    return {f"model.layers.{layer}.self_attn.{ROTARY}": frequencies for layer in layers}


def _in_precision(value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a tensor in another precision, or unchanged if that would round it, as it would trained values."""
    narrow = value if dtype is None else value.to(dtype)
    return (narrow if torch.equal(narrow.to(value.dtype), value) else value).contiguous()


def _write(file: Path, content: Mapping[str, Any]) -> None:
    write_json(file, content, indent=2, sort_keys=True)
