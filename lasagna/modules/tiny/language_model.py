"""A Llama of under one million parameters that reads the vision encoder's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from lasagna.core.processors import TextProcessor
from lasagna.modules.base import FeatureSpec, LanguageModel
from lasagna.modules.decoding.cache import whole_cache
from lasagna.modules.language_models.base import TokenizerTextProcessor
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.projector import ImageProjector, check_grid
from lasagna.modules.tiny.tokenizer import NO, YES, WordTextProcessor, build_tokenizer
from lasagna.modules.tiny.weights import load_packaged, packaged_words

HIDDEN, LAYERS, HEADS, MIDDLE = 128, 4, 4, 384

PACKAGED = {"pretrained": "", "neutral": "neutral_"}
"""How the names of the package's files begin."""


class TinyLanguageModel(LanguageModel):
    """Four layers, 128 wide, one token for each word of a small vocabulary, letters for all other words.

    Pretrained on text and drawn-up scene descriptions to copy lists, to read what a picture holds, and to answer
    simple questions about it (see the README, "What the parts know").

    Args:
        weights: "pretrained" for those in the package, "neutral" for those that favour no order or form of
            answers (for ablations), "random" to start from nothing.
        projector: "pretrained" or "neutral" for the projector that was aligned with the tiny vision encoder and these
            weights, or "random", which any other encoder needs.
        adapter: Low-rank adapters, or None to train the layers themselves.
        image_grid: Rows and columns of image tokens.
        max_length: Longest row of tokens, the image's included.
    """

    def __init__(
        self,
        weights: Literal["pretrained", "neutral", "random"] = "pretrained",
        projector: Literal["pretrained", "neutral", "random"] = "pretrained",
        adapter: LoRA | None = None,
        image_grid: tuple[int, int] = (6, 6),
        max_length: int = 1024,
    ) -> None:
        super().__init__()
        check_grid(image_grid, max_length)
        self.weights = weights
        self.projector_weights = projector
        self.adapter = adapter
        self.image_grid = image_grid
        self.max_length = max_length

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return HIDDEN

    @property
    def text_processor(self) -> TextProcessor:
        """The tokeniser with the image in its place."""
        return self._text_processor

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens; the new ones start from ``<yes>`` and ``<no>``."""
        self.tokenizer = build_tokenizer(packaged_words())
        self.llama = LlamaForCausalLM(_config(len(self.tokenizer), self.max_length))
        self.projector = ImageProjector(features.channels[0], HIDDEN, self.image_grid)
        # the output layer shares the word embeddings, which are stored once
        if self.weights != "random":
            load_packaged(self.llama.model, PACKAGED[self.weights] + "language_model")
        if self.projector_weights != "random":
            load_packaged(self.projector, PACKAGED[self.projector_weights] + "projector", "projector")
        self._add_tokens(special_tokens)
        if self.adapter is not None:
            self.adapter.inject(self.llama)

    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Project the vision encoder's main map ``[b, c, h, w]`` to ``[b, i, d]``."""
        vectors: Tensor = self.projector(visual[0])
        return vectors

    def embed(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of tokens ``[r, t]``, with ``[r, i, d]`` at their image tokens."""
        words: Tensor = self.llama.get_input_embeddings()(input_ids)
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
        output = self.llama.model(
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
        logits: Tensor = self.llama.lm_head(hidden)
        return logits

    def new_cache(self) -> Any:  # noqa: ANN401
        """Return an empty key-value cache."""
        return whole_cache(self.llama.config)

    def _add_tokens(self, special_tokens: Sequence[str]) -> None:
        known = len(self.tokenizer)
        self.tokenizer.add_special_tokens({"additional_special_tokens": list(special_tokens)}, False)
        self.llama.resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        ids = self.tokenizer.convert_tokens_to_ids
        with torch.no_grad():
            words = self.llama.get_input_embeddings().weight
            for token, start in zip(special_tokens, (YES, NO), strict=False):
                if ids(token) >= known:
                    words[ids(token)] = words[ids(start)]
        self.image_token_id = ids(special_tokens[2])
        apart = not any(" " in token for token in special_tokens)
        self._text_processor = (WordTextProcessor if apart else TokenizerTextProcessor)(
            tokenizer=self.tokenizer,
            image_token=special_tokens[2],
            image_tokens=self.image_grid[0] * self.image_grid[1],
            end_token_id=self.tokenizer.eos_token_id,
            padding_token_id=self.tokenizer.pad_token_id,
            max_length=self.max_length,
        )


def _config(vocabulary: int, max_length: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=MIDDLE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        initializer_range=0.05,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
        attn_implementation="eager",
    )
