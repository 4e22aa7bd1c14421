"""Any causal language model of transformers, joined with any vision encoder by a projector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from transformers import AutoModelForCausalLM

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec
from lasagna.modules.decoding.recurrent import check_recurrent
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import Quantization, outline
from lasagna.modules.language_models.pretrained_model import PretrainedLanguageModel
from lasagna.modules.language_models.projector import ImageProjector, check_grid


class CausalLanguageModel(PretrainedLanguageModel):
    """Teaches a language model that has never seen an image to read the vision encoder's main map.

    Tested with Llama (SmolLM2), Qwen2, GPT-NeoX, GPT-2 and OPT, and, where layers attend to a sliding window, with
    Mistral, Qwen2, Gemma 2, Gemma 3 and Cohere 2; where layers keep a state in place of keys and values, with LFM2,
    Qwen3-Next and Qwen3.5, also with experts. Others that take ``inputs_embeds`` and ``position_ids`` should work too.
    Other models with a state, such as Mamba and its hybrids, are refused.

    Args:
        model: Folder in transformers' layout, a name on the hub, or settings ("model_type" and sizes) of one with
            random weights.
        tokenizer: Folder or name of the tokeniser; None for the model's own, "words" for the package's small
            vocabulary.
        adapter: Low-rank adapters, or None to train the layers themselves.
        frozen: Whether the language model keeps its weights, so that only the projector (and adapters) learn.
        image_grid: Rows and columns of image tokens.
        max_length: Longest row of tokens, the image's included.
        new_tokens: Initial embeddings of added tokens: the mean of all others, or random; always random if word
            embeddings and output layer are not trained.
        dtype: Precision of the weights.
        quantization: Whether linear layers are held in 4 or 8 bits; needs a CUDA device and bitsandbytes.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
        download: Whether missing files may be downloaded from the hub.
    """

    auto_class = AutoModelForCausalLM

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
        check_grid(image_grid, max_length)
        super().__init__(
            model, tokenizer, adapter, frozen, max_length, new_tokens, dtype, quantization, recompute, download
        )
        self.image_grid = image_grid

    @property
    def network(self) -> Any:  # noqa: ANN401
        """The network of transformers."""
        return self.llm

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens.

        Args:
            features: The vision encoder's maps; only the main one is read.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            ConfigError: If the model or tokeniser is missing, does not fit or cannot be quantized, or if decoding
                cannot go back in the cache of some layers.
        """
        self.llm, tokenizer = self.read(special_tokens)
        self.projector = ImageProjector(features.channels[0], self.hidden_size, self.image_grid)
        image_tokens, chat = self.image_grid[0] * self.image_grid[1], self.chat_arguments(tokenizer)
        self.set_text_processor(tokenizer, special_tokens[2], image_tokens, self.max_length, **chat)
        self.set_trainable()

    def check(self, config: Any) -> None:  # noqa: ANN401
        """Check cache, length and adapters before weights are read."""
        layers = outline(self.auto_class, config, self.source)
        check_recurrent(config.get_text_config())
        longest = getattr(config.get_text_config(), "max_position_embeddings", None) or self.max_length
        if self.max_length > longest:
            raise ConfigError(f"max_length: the model takes rows of at most {longest} tokens, got {self.max_length}")
        if self.adapter is not None:
            self.adapter.check(layers)
