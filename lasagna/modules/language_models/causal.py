"""Any causal language model of transformers, joined with any vision encoder by a projector.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size; v: vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lasagna.core.processors import TextProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, LanguageModel
from lasagna.modules.decoding.cache import whole_cache
from lasagna.modules.language_models.base import TokenizerTextProcessor
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import (
    Quantization,
    add_tokens,
    check_quantization,
    grow_tables,
    outline,
    read_config,
    read_model,
    read_tokenizer,
)
from lasagna.modules.language_models.projector import ImageProjector, check_grid


class CausalLanguageModel(LanguageModel):
    """A language model that has never seen an image learns to read the vision encoder's main map.

    Proven with Llama (SmolLM2), Qwen2, GPT-NeoX, GPT-2 and OPT, and, where layers look back a window only, with
    Mistral, Qwen2, Gemma 2, Gemma 3 and Cohere 2; others that take ``inputs_embeds`` and ``position_ids`` should work
    alike. Models with a running state, such as Mamba and its hybrids, are refused.

    Args:
        model: Folder in transformers' layout, a name on the hub, or settings ("model_type" and sizes) of one with
            random weights.
        tokenizer: Folder or name of the tokeniser; None for the model's own, "words" for the package's small
            vocabulary.
        adapter: Low-rank adapters, or None to train the layers themselves.
        frozen: Whether the language model keeps its weights, so that only the projector (and adapters) learn.
        image_grid: Rows and columns of image tokens.
        max_length: Longest row of tokens, the image's included.
        new_tokens: What the rows of added tokens begin as: the mean of all others, or random.
        dtype: Precision of the weights.
        quantization: Whether linear layers are held in 4 or 8 bits; needs a CUDA device and bitsandbytes.
        recompute: Whether training computes each block a second time rather than keep what it computed; less memory.
        download: Whether what is not here may be fetched from the hub.
    """

    def __init__(
        self,
        model: str | dict[str, Any],
        tokenizer: str | None = None,
        adapter: LoRA | None = None,
        frozen: bool = False,
        image_grid: tuple[int, int] = (8, 8),
        max_length: int = 1024,
        new_tokens: Literal["mean", "random"] = "mean",
        dtype: Literal["float32", "bfloat16"] = "float32",
        quantization: Quantization | None = None,
        recompute: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__()
        check_grid(image_grid, max_length)
        if tokenizer is None and isinstance(model, dict):
            raise ConfigError('tokenizer: a model of settings has none; give a folder, or "words"')
        self.model = model
        self.tokenizer_name = tokenizer
        self.adapter = adapter
        self.frozen = frozen
        self.image_grid = image_grid
        self.max_length = max_length
        self.new_tokens = new_tokens
        self.weights_dtype = getattr(torch, dtype)
        self.quantization = quantization
        self.recompute = recompute
        self.download = download

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.llm.config.get_text_config().hidden_size)

    @property
    def text_processor(self) -> TextProcessor:
        """The tokeniser with the image in its place."""
        return self._text_processor

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens.

        Args:
            features: The vision encoder's maps; the main one is read.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            ConfigError: If model or tokeniser are not here, do not fit, or cannot be quantized, or if the model has no
                key-value cache in all of its layers.
        """
        check_quantization(self.quantization, self.source)
        source = self.source
        self._check(read_config(source, self.download))
        tokenizer = read_tokenizer(self.tokenizer_name or str(source), self.download)
        fresh = add_tokens(tokenizer, special_tokens)
        self.llm = read_model(AutoModelForCausalLM, source, self.weights_dtype, self.quantization, self.download)
        grow_tables(self.llm, tokenizer, fresh, self.new_tokens)
        self.projector = ImageProjector(features.channels[0], self.hidden_size, self.image_grid)
        self.image_token_id = tokenizer.convert_tokens_to_ids(special_tokens[2])
        self._text_processor = TokenizerTextProcessor(
            tokenizer=tokenizer,
            image_token=special_tokens[2],
            image_tokens=self.image_grid[0] * self.image_grid[1],
            end_token_id=tokenizer.eos_token_id,
            padding_token_id=tokenizer.pad_token_id,
            max_length=self.max_length,
        )
        self._settle()

    @property
    def source(self) -> str | dict[str, Any]:
        """Where the model comes from: a folder, a name, or settings."""
        return self.model

    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Project the vision encoder's main map ``[b, c, h, w]`` to ``[b, i, d]``."""
        vectors: Tensor = self.projector(visual[0])
        return vectors

    def embed(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of tokens ``[r, t]``, with ``[r, i, d]`` at their image tokens."""
        words: Tensor = self.llm.get_input_embeddings()(input_ids)
        places = input_ids == self.image_token_id
        return words.masked_scatter(places[..., None], image_vectors.to(words.dtype)[places.any(1)])

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Any = None,  # noqa: ANN401
    ) -> Tensor:
        """Compute hidden states ``[r, t, d]`` after the final norm."""
        output = self.llm.base_model(
            inputs_embeds=embeddings,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn hidden states ``[..., d]`` into token logits ``[..., v]``."""
        logits: Tensor = self.llm.get_output_embeddings()(hidden)
        limit = getattr(self.llm.config.get_text_config(), "final_logit_softcapping", None)
        return logits if limit is None else limit * torch.tanh(logits / limit)

    def new_cache(self) -> Any:  # noqa: ANN401
        """Return an empty key-value cache."""
        return whole_cache(self.llm.config)

    def _check(self, config: Any) -> None:  # noqa: ANN401
        """Check what can be checked before weights are read."""
        layers = outline(AutoModelForCausalLM, config, self.source)
        _check_cache(layers)
        known = getattr(config.get_text_config(), "max_position_embeddings", None) or self.max_length
        if self.max_length > known:
            raise ConfigError(f"max_length: the model takes rows of at most {known} tokens, got {self.max_length}")
        if self.adapter is not None:
            self.adapter.check(layers)

    def _settle(self) -> None:
        if self.frozen or self.quantization is not None:
            self.llm.requires_grad_(False)
        if self.recompute:
            self.llm.gradient_checkpointing_enable({"use_reentrant": False})
        if self.adapter is not None:
            self.adapter.inject(self.llm)


def _check_cache(model: Any) -> None:  # noqa: ANN401
    """Check that decoding can take back the last tokens that a model has read."""
    config = model.config.get_text_config()
    running = {"conv", "linear_attention"} & set(getattr(config, "layer_types", None) or ())
    taken = signature(type(model.base_model).forward).parameters
    if running or getattr(model, "_is_stateful", False) or "past_key_values" not in taken:
        raise ConfigError(
            f"model: a {config.model_type!r} keeps no attention keys and values in some of its layers, which decoding "
            "needs to take back tokens; take one whose layers all attend, such as a Llama or a Qwen2"
        )
