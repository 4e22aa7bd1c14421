"""Reading models and tokenisers of transformers from a folder, the hub's local cache or, on request, the network."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lasagna.core.weights import reads_weights
from lasagna.errors import ConfigError
from lasagna.modules.tiny.tokenizer import build_tokenizer
from lasagna.modules.tiny.weights import packaged_words

Quantization = Literal["4bit", "8bit"]
_KINDS = {"AutoModelForCausalLM": "a causal language model", "AutoModelForImageTextToText": "an image-text model"}
ROWS = 8192
"""Rows of a table of words that are averaged at once."""

WORDS = "words"
"""Name of the package's small vocabulary, for models with random weights."""


def read_config(model: str | dict[str, Any], download: bool = False, argument: str = "model") -> Any:  # noqa: ANN401
    """Return a model's config.

    Args:
        model: A folder, a name on the hub, or settings with a "model_type".
        download: Whether the network may be used.
        argument: The setting that names the model, for messages.

    Raises:
        ConfigError: If the model is not found, or its type or a value is not one that transformers knows.
    """
    try:
        if isinstance(model, dict):
            return AutoConfig.for_model(**model)
        return AutoConfig.from_pretrained(model, local_files_only=not download)
    except (OSError, ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise ConfigError(_unreadable(argument, model, error)) from error


def find_folder(model: str, download: bool = False, argument: str = "model") -> Path:
    """Return the folder of a model in transformers' layout.

    Args:
        model: A folder, or a name on the hub.
        download: Whether the network may be used.
        argument: The setting that names the model, for messages.

    Raises:
        ConfigError: If the model is not found.
    """
    if Path(model).is_dir():
        return Path(model)
    try:
        found = snapshot_download(model, allow_patterns=["*.json", "*.safetensors"], local_files_only=not download)
    except (OSError, ValueError) as error:
        raise ConfigError(_absent(argument, model, error)) from error
    return Path(found)


def read_model(
    kind: Any,  # noqa: ANN401
    model: str | dict[str, Any],
    dtype: torch.dtype,
    quantization: Quantization | None = None,
    download: bool = False,
) -> Any:  # noqa: ANN401
    """Make a model with its weights, or with random ones if only settings are given.

    Args:
        kind: Transformers' auto class for models of this kind.
        model: A folder, a name on the hub, or settings.
        dtype: Precision of the weights.
        quantization: Whether linear layers are held in 4 or 8 bits, through bitsandbytes on a GPU.
        download: Whether the network may be used.

    Raises:
        ConfigError: If the model is not found, is of another kind, or cannot be quantized.
    """
    check_quantization(quantization, model)
    config = read_config(model, download)
    try:
        if isinstance(model, dict) or not reads_weights():
            return kind.from_config(config, dtype=dtype)
        extra = {} if quantization is None else {"quantization_config": bits(quantization)}
        return kind.from_pretrained(model, dtype=dtype, local_files_only=not download, **extra)
    except (OSError, ValueError) as error:
        raise ConfigError(_unusable(kind.__name__, model, config.model_type, error)) from error


def outline(kind: Any, config: Any, model: str | dict[str, Any]) -> Any:  # noqa: ANN401
    """Return a model's layers without weights, for checks before the weights are read.

    Args:
        kind: Transformers' auto class for models of this kind.
        config: The model's config.
        model: Folder, name or settings, for messages.

    Raises:
        ConfigError: If the model is of another kind, or its settings are invalid.
    """
    try:
        with torch.device("meta"):
            return kind.from_config(config)
    except ValueError as error:
        raise ConfigError(_unusable(kind.__name__, model, config.model_type, error)) from error


def read_tokenizer(name: str, download: bool = False) -> PreTrainedTokenizerBase:
    """Return a tokeniser.

    Args:
        name: A folder, a name on the hub, or "words" for the package's small vocabulary.
        download: Whether the network may be used.

    Raises:
        ConfigError: If the tokeniser is not found, or has no end token.
    """
    if name == WORDS:
        return build_tokenizer(packaged_words())
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=not download)
    except (OSError, ValueError) as error:
        raise ConfigError(_absent("tokenizer", name, error)) from error
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"tokenizer: {name!r} has no end token, which answers need; give another one")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> list[str]:  # noqa: ANN401
    """Add tokens to a tokeniser.

    Args:
        tokenizer: The tokeniser.
        tokens: The tokens.

    Returns:
        The tokens that the tokeniser did not have before.

    Raises:
        ConfigError: If the tokeniser still splits one of them.
    """
    known = set(tokenizer.get_vocab())
    tokenizer.add_tokens(list(tokens), special_tokens=True)
    split = unknown(tokens, tokenizer)
    if split:
        raise ConfigError(
            f"tokenizer: it splits {split}, each of which must be one token; choose another prompt format"
        )
    return [token for token in tokens if token not in known]


def grow_tables(model: PreTrainedModel, tokenizer: Any, fresh: Sequence[str], start: Literal["mean", "random"]) -> None:  # noqa: ANN401
    """Enlarge word embedding and output layer to the size of a tokeniser, and initialise the rows of new tokens.

    Args:
        model: The language model.
        tokenizer: Its tokeniser, with all tokens added.
        fresh: The tokens that were added; the rows of all others stay.
        start: Initial values of new rows: the mean of all others, or random as in a new layer.
    """
    words, written = (table.weight.shape[0] for table in _layers(model))
    rows = min(words, written)
    if len(tokenizer) > rows:
        model.resize_token_embeddings(max(len(tokenizer), words), mean_resizing=False)
        if written < words:  # a model need not be able to write all the words that it reads
            _to_mean(model.get_output_embeddings().weight, range(written, words))
    ids = [tokenizer.convert_tokens_to_ids(token) for token in fresh]
    if start == "mean":
        for table in _tables(model):
            _to_mean(table, ids)
    else:
        # rows that pad the vocabulary may all be equal; those that were added just now are random already
        _to_random(model, [number for number in ids if number < rows])


def unknown(tokens: Sequence[str], tokenizer: Any) -> list[str]:  # noqa: ANN401
    """Return the tokens that a tokeniser splits into several pieces."""
    return [token for token in tokens if len(tokenizer(token, add_special_tokens=False).input_ids) != 1]


def check_quantization(quantization: Quantization | None, model: str | dict[str, Any]) -> None:
    """Check, before anything is read, that a model can be quantized on this machine.

    Args:
        quantization: "4bit", "8bit" or None.
        model: Folder, name or settings of the model.

    Raises:
        ConfigError: If the value is unknown or a requirement is missing.
    """
    if quantization is None:
        return
    known = get_args(Quantization)
    if quantization not in known:
        choice = " or ".join(map(repr, known))
        raise ConfigError(f"quantization: there is no {quantization!r}; choose {choice}, or leave it out")
    missing = [
        reason
        for reason, absent in (
            ("a CUDA device", not torch.cuda.is_available()),
            ("the package bitsandbytes", importlib.util.find_spec("bitsandbytes") is None),
            ("pretrained weights", isinstance(model, dict)),
        )
        if absent
    ]
    if missing:
        raise ConfigError(
            f"quantization: {quantization!r} needs {' and '.join(missing)}; leave it out, or take dtype: bfloat16"
        )


def bits(quantization: Quantization) -> BitsAndBytesConfig:
    """Return transformers' config for linear layers in 4 or 8 bits."""
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)


def recompute_activations(network: PreTrainedModel) -> None:
    """Let a network recompute the activations of each block in the backward pass rather than keep them."""
    # renamed in transformers 5, whose later releases warn of the old name
    enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
    enable({"use_reentrant": False})


@torch.no_grad()
def _to_mean(table: Tensor, fresh: Sequence[int]) -> None:
    kept = torch.ones(len(table), dtype=torch.bool, device=table.device)
    kept[list(fresh)] = False
    # some rows at a time, since a copy in float32 of all of them takes gigabytes for large vocabularies
    parts = zip(table.split(ROWS), kept.split(ROWS), strict=True)
    total = torch.stack([rows[own].float().sum(0) for rows, own in parts]).sum(0)
    table[list(fresh)] = (total / kept.sum()).to(table.dtype)


@torch.no_grad()
def _to_random(model: PreTrainedModel, fresh: Sequence[int]) -> None:
    deviation = getattr(model.config.get_text_config(), "initializer_range", 0.02)
    for table in _tables(model):
        table[list(fresh)] = deviation * torch.randn(len(fresh), table.shape[1]).to(table)


def _tables(model: PreTrainedModel) -> list[Tensor]:
    """Return word embedding and output layer, or the one table that both share."""
    return list({layer.weight.data_ptr(): layer.weight for layer in _layers(model)}.values())


def _layers(model: PreTrainedModel) -> tuple[Any, Any]:
    """Return word embedding and output layer."""
    return model.get_input_embeddings(), model.get_output_embeddings()


def _unusable(kind: str, model: str | dict[str, Any], model_type: str, error: Exception) -> str:
    if "Unrecognized configuration class" in str(error):
        name = "it" if isinstance(model, dict) else repr(model)
        return f"model: {name} is a {model_type!r}, which is not {_KINDS.get(kind, kind)}; give another model"
    if isinstance(model, dict):
        return f"model: these settings make no valid model ({_short(error)}); give consistent sizes"
    return _absent("model", model, error)


def _unreadable(argument: str, model: str | dict[str, Any], error: Exception) -> str:
    if isinstance(model, dict):
        settings, whose = model, "these settings are"
    elif isinstance(error, OSError):
        return _absent(argument, model, error)
    else:
        settings, _ = PreTrainedConfig.get_config_dict(model, local_files_only=True)
        whose = f"that of {model!r} is"
    kind = settings.get("model_type")
    if kind is None and isinstance(model, str):
        return _absent(argument, model, error)
    if kind is not None and kind not in CONFIG_MAPPING:
        reason = f"transformers {transformers.__version__} has no model_type {kind!r}"
        return f"{argument}: {whose} not a valid config ({reason}); upgrade transformers, or give another model"
    reason = " ".join(str(error).split())[:160]
    return f"{argument}: {whose} not a valid config ({reason}); give a model_type and values that fit it"


def _absent(argument: str, name: str, error: Exception) -> str:
    where = "is incomplete" if Path(name).is_dir() else "is neither a local folder nor in the hub's local cache"
    return f"{argument}: {name!r} {where} ({_short(error)}); give a folder, or allow the download by download: true"


def _short(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
