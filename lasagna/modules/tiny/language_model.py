"""A Llama of under one million parameters that reads the vision encoder's features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lasagna.modules.base import FeatureSpec
from lasagna.modules.language_models.base import TransformersLanguageModel
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.projector import ImageProjector, check_grid
from lasagna.modules.language_models.text_processor import TokenizerTextProcessor
from lasagna.modules.tiny.tokenizer import NO, YES, WordTextProcessor, build_tokenizer
from lasagna.modules.tiny.weights import load_packaged, packaged_words

HIDDEN, LAYERS, HEADS, MIDDLE = 128, 4, 4, 384

PACKAGED = {"pretrained": "", "neutral": "neutral_"}
"""Start of the names of the package's files of weights."""


class TinyLanguageModel(TransformersLanguageModel):
    """Four layers, 128 wide; one token for each word of a small vocabulary, and letters for other words.

    Pretrained on generated text and scene descriptions to copy lists, to read what an image shows, and to answer simple
    questions about it (see docs/results.md, "What the parts know").

    Args:
        weights: "pretrained" for those in the package, "neutral" for those that prefer no order or form of answers
            (for ablations), or "random".
        projector: "pretrained" or "neutral" for the projector that was aligned with the tiny vision encoder and these
            weights, or "random", which any other encoder needs.
        adapter: Low-rank adapters, or None to train the layers themselves.
        image_grid: Rows and columns of image tokens.
        max_length: Longest row of tokens, the image's included.
    """

    projector: ImageProjector

    def __init__(
        self,
        weights: Literal["pretrained", "neutral", "random"] = "pretrained",
        projector: Literal["pretrained", "neutral", "random"] = "pretrained",
        adapter: LoRA | None = None,
        image_grid: tuple[int, int] = (6, 6),
        max_length: int = 1024,
    ) -> None:
        check_grid(image_grid, max_length)
        super().__init__(adapter)
        self.weights = weights
        self.projector_weights = projector
        self.image_grid = image_grid
        self.max_length = max_length

    @property
    def network(self) -> Any:  # noqa: ANN401
        """The Llama."""
        return self.llama

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens.

        The embeddings of present and absent token start as those of ``<yes>`` and ``<no>``.

        Args:
            features: The vision encoder's maps; only the main one is read.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            CheckpointError: If the packaged projector does not fit the vision encoder.
            ConfigError: If the adapters do not fit.
        """
        self.tokenizer = build_tokenizer(packaged_words())
        self.llama = LlamaForCausalLM(_config(len(self.tokenizer), self.max_length))
        self.projector = ImageProjector(features.channels[0], self.hidden_size, self.image_grid)
        # the output layer shares the word embeddings, so that the files hold the inner model only
        if self.weights != "random":
            load_packaged(self.llama.model, PACKAGED[self.weights] + "language_model")
        if self.projector_weights != "random":
            load_packaged(self.projector, PACKAGED[self.projector_weights] + "projector", "projector")
        self._add_tokens(special_tokens)
        # WordTextProcessor splits texts at spaces, so no token may contain one
        separable = not any(" " in token for token in special_tokens)
        self.set_text_processor(
            self.tokenizer,
            special_tokens[2],
            self.image_grid[0] * self.image_grid[1],
            self.max_length,
            WordTextProcessor if separable else TokenizerTextProcessor,
        )
        self.set_trainable()

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
