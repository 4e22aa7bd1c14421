"""What the language models share that one of transformers' auto classes reads: files, tokeniser and chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from transformers import PreTrainedTokenizerBase

from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import ConfigError
from lasagna.modules.language_models.base import TransformersLanguageModel
from lasagna.modules.language_models.chat_template import ChatFormat, ChatTemplate
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import (
    Quantization,
    add_tokens,
    check_quantization,
    grow_tables,
    read_config,
    read_model,
    read_tokenizer,
)
from lasagna.modules.language_models.text_processor import ChatTextProcessor


class PretrainedLanguageModel(TransformersLanguageModel):
    """A language model that one of transformers' auto classes reads.

    Args:
        model: Folder in transformers' layout, a name on the hub, or settings ("model_type" and sizes) of one with
            random weights.
        tokenizer: Folder or name of the tokeniser; None for the model's own, "words" for the package's small
            vocabulary.
        adapter: Low-rank adapters, or None to train the layers themselves.
        frozen: Whether the language layers keep their weights.
        max_length: Longest row of tokens, the image's included.
        new_tokens: Initial embeddings of added tokens: the mean of all others, or random; always random if word
            embeddings and output layer are not trained.
        dtype: Precision of the weights.
        quantization: Whether linear layers are held in 4 or 8 bits; needs a CUDA device and bitsandbytes.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
        download: Whether missing files may be downloaded from the hub.

    Raises:
        ConfigError: If settings are given without a tokeniser.
    """

    auto_class: ClassVar[Any]
    """Transformers' auto class for models of this kind."""

    weights_dtype: torch.dtype

    def __init__(
        self,
        model: str | dict[str, Any],
        tokenizer: str | None,
        adapter: LoRA | None,
        frozen: bool,
        max_length: int,
        new_tokens: Literal["mean", "random"],
        dtype: Literal["float32", "bfloat16"],
        quantization: Quantization | None,
        recompute: bool,
        download: bool,
    ) -> None:
        super().__init__(adapter, frozen, dtype, quantization, recompute)
        if tokenizer is None and isinstance(model, dict):
            raise ConfigError('tokenizer: a model given by settings has no tokeniser; give a folder, or "words"')
        self.model = model
        self.tokenizer_name = tokenizer
        self.max_length = max_length
        self.new_tokens = new_tokens
        self.download = download
        self._chat: ChatFormat | None = None

    @property
    def reads_sentences(self) -> bool:
        """Whether the model comes with weights, instead of settings for random ones."""
        return isinstance(self.model, str)

    @property
    def source(self) -> str | dict[str, Any]:
        """Where the model comes from: a folder, a name, or settings."""
        return self.model

    @property
    def tokenizer_source(self) -> str:
        """Where the tokeniser comes from: a folder, a name, or "words"."""
        return self.tokenizer_name or str(self.source)

    def adopt(self, prompt_format: PromptFormat) -> PromptFormat:
        """Return a prompt format as this model is asked in it, with messages rendered by its chat template.

        Raises:
            ConfigError: If there is no such template, or it cannot ask about an image.
        """
        self._chat = None
        if prompt_format.chat_template:
            tokenizer = read_tokenizer(self.tokenizer_source, self.download)
            self._chat = self.chat_template(tokenizer).render(prompt_format)
        return prompt_format if self._chat is None else self._chat.prompt_format

    def chat_template(self, tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
        """Return the model's chat template, given its tokeniser."""
        return ChatTemplate(self.tokenizer_source, tokenizer)

    def chat_arguments(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the arguments of ``set_text_processor`` for prompts that a chat template has rendered, if any."""
        if self._chat is None:
            return {}
        end = tokenizer.eos_token if self._chat.end_token is None else self._chat.end_token
        sample, end_id = self._chat.sample, tokenizer.convert_tokens_to_ids(end)
        return {"kind": ChatTextProcessor, "sample": sample, "end_token_id": end_id}

    def check(self, config: Any) -> None:  # noqa: ANN401
        """Check what can be checked before weights are read.

        Args:
            config: The model's config.

        Raises:
            ConfigError: If something does not fit.
        """
        raise NotImplementedError

    def own_tokens(self, config: Any, tokenizer: Any) -> Sequence[str]:  # noqa: ANN401
        """Return tokens that the model needs beside those of the prompt format."""
        return ()

    def read(self, special_tokens: Sequence[str]) -> tuple[Any, Any]:
        """Read network and tokeniser, and add tokens to both.

        Args:
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Returns:
            The network and the tokeniser.

        Raises:
            ConfigError: If either is missing, does not fit, or cannot be quantized.
        """
        source = self.source
        check_quantization(self.quantization, source)
        config = read_config(source, self.download)
        self.check(config)
        tokenizer = read_tokenizer(self.tokenizer_source, self.download)
        added = add_tokens(tokenizer, [*special_tokens, *self.own_tokens(config, tokenizer)])
        network = read_model(self.auto_class, source, self.weights_dtype, self.quantization, self.download)
        # equal rows that are not trained could never be told apart
        grow_tables(network, tokenizer, added, self.new_tokens if self.trains_rows else "random")
        return network, tokenizer
