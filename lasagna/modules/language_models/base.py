"""What the language models share that wrap a network of transformers.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size; v: vocabulary; w: width of embeddings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import ConfigError
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding.cache import whole_cache
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
    recompute_activations,
)
from lasagna.modules.language_models.text_processor import ChatTextProcessor, TokenizerTextProcessor
from lasagna.modules.state import precision_of


class TransformersLanguageModel(LanguageModel):
    """A language model around a network of transformers.

    A subclass makes the network in ``build``, keeps it under a name of its own (which is part of the names of the
    weights) and returns it as ``network``. ``build`` calls ``set_text_processor`` and ends with ``set_trainable``. A
    model without a visual tower of its own also makes a ``projector`` for the vision encoder's main map.

    Args:
        adapter: Low-rank adapters, or None to train the layers themselves.
        frozen: Whether the network keeps its weights.
        dtype: Precision of the weights; None for torch's default.
        quantization: Whether linear layers are held in 4 or 8 bits, which freezes the network.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
    """

    projector: nn.Module
    image_token_id: int

    def __init__(
        self,
        adapter: LoRA | None = None,
        frozen: bool = False,
        dtype: Literal["float32", "bfloat16"] | None = None,
        quantization: Quantization | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.adapter = adapter
        self.frozen = frozen
        self.weights_dtype: torch.dtype | None = None if dtype is None else getattr(torch, dtype)
        self.quantization = quantization
        self.recompute = recompute

    @property
    @abstractmethod
    def network(self) -> Any:  # noqa: ANN401 - transformers types what its networks return too loosely to be of use
        """The network of transformers, with word embeddings and output layer; known once built."""

    @property
    def decoder(self) -> Any:  # noqa: ANN401
        """The language layers of the network, without output layer."""
        return self.network.base_model

    @property
    def adapted(self) -> nn.Module:
        """The part of the network that gets adapters."""
        adapted: nn.Module = self.network
        return adapted

    @property
    def trains_rows(self) -> bool:
        """Whether word embeddings and output layer can be trained."""
        if self.adapter is not None:
            return self.adapter.embeddings
        return not self.frozen and self.quantization is None

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.network.config.get_text_config().hidden_size)

    @property
    def logit_cap(self) -> float | None:
        """Bound of the logits (Gemma 2, arXiv 2408.00118, section 2), or None."""
        return getattr(self.network.config.get_text_config(), "final_logit_softcapping", None)

    @property
    def text_processor(self) -> TextProcessor:
        """The tokeniser, which repeats the image token once per image vector."""
        return self._text_processor

    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Project the vision encoder's main map ``[b, c, h, w]`` to ``[b, i, d]``."""
        vectors: Tensor = self.projector(visual[0].to(precision_of(self.projector)))  # the parts may differ in it
        return vectors

    def embed(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of tokens ``[r, t]``, with the first of ``[r, i, w]`` at their image tokens."""
        places = input_ids == self.image_token_id
        # the image token may have no row of its own
        words = self.embed_words(input_ids.masked_fill(places, 0), image_vectors)
        ranks = torch.arange(image_vectors.shape[1], device=places.device)
        return words.masked_scatter(places[..., None], image_vectors.to(words.dtype)[ranks < places.sum(1)[:, None]])

    def embed_words(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of words ``[r, t]`` that are to hold image vectors ``[r, i, w]``, as wide as these."""
        words: Tensor = self.network.get_input_embeddings()(input_ids)
        return words

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Any = None,  # noqa: ANN401
    ) -> Tensor:
        """Compute hidden states ``[r, t, d]`` after the final norm."""
        arguments = self.decoder_arguments(embeddings, attention_mask, position_ids)
        output = self.decoder(**arguments, past_key_values=cache, use_cache=cache is not None)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def decoder_arguments(self, embeddings: Tensor, attention_mask: Tensor, position_ids: Tensor) -> dict[str, Any]:
        """Return what ``decoder`` reads: the arguments of ``forward``, by transformers' names for them."""
        return {"inputs_embeds": embeddings, "attention_mask": attention_mask, "position_ids": position_ids}

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn hidden states ``[..., d]`` into token logits ``[..., v]``."""
        logits: Tensor = self.network.get_output_embeddings()(hidden)
        cap = self.logit_cap
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def new_cache(self) -> Any:  # noqa: ANN401
        """Return an empty key-value cache."""
        return whole_cache(self.decoder.config)

    def set_text_processor(
        self,
        tokenizer: Any,  # noqa: ANN401
        image_token: str,
        image_tokens: int,
        max_length: int,
        kind: type[TokenizerTextProcessor] = TokenizerTextProcessor,
        **more: Any,  # noqa: ANN401
    ) -> None:
        """Set the text processor and the id of the image token.

        Args:
            tokenizer: The tokeniser, with all special tokens added.
            image_token: The image token.
            image_tokens: Number of tokens that stand for an image.
            max_length: Longest row that the model takes, in tokens.
            kind: Class of the text processor.
            more: Further arguments of that class, and others instead of the tokeniser's own.
        """
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        arguments = {"end_token_id": tokenizer.eos_token_id, "padding_token_id": tokenizer.pad_token_id, **more}
        self._text_processor: TextProcessor = kind(
            tokenizer=tokenizer,
            image_token=image_token,
            image_tokens=image_tokens,
            max_length=max_length,
            **arguments,
        )

    def set_trainable(self) -> None:
        """Freeze what keeps its weights, turn on recomputation, and add adapters."""
        self.freeze_network()
        if self.recompute:
            recompute_activations(self.network)
        if self.adapter is not None:
            self.adapter.inject(self.network, self.adapted)

    def freeze_network(self) -> None:
        """Freeze the network if it is to keep its weights, or is quantized."""
        if self.frozen or self.quantization is not None:
            self.network.requires_grad_(False)


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
