"""What the language models share that wrap a network of transformers.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size; v: vocabulary; w: width of embeddings.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lasagna.core.processors import TextProcessor
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding.cache import whole_cache
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import (
    Quantization,
    recompute_activations,
)
from lasagna.modules.language_models.text_processor import TokenizerTextProcessor
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
