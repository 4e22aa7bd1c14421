"""Any proven image-text model of transformers as a language model with a visual tower of its own.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size; v: vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText

from lasagna.core.processors import ImageProcessor, TextProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, LanguageModel, VisualTower
from lasagna.modules.decoding.cache import whole_cache
from lasagna.modules.image_processors import SquashImageProcessor
from lasagna.modules.image_text.families import Family, check_config, family_of
from lasagna.modules.image_text.normalisation import tower_normalisation
from lasagna.modules.image_text.text import PREFIX_END, ImageFirst, PrefixFirst, decoder_input, prefix_of
from lasagna.modules.image_text.towers import Tower
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
    unknown,
)


class ImageTextModel(LanguageModel):
    """A model that has learned to read images already; ``FAMILIES`` lists those that are proven.

    The tower sees the whole image, resized to a square. The tower is not trained.

    Args:
        model: Folder in transformers' layout, a name on the hub, or settings ("model_type" and sizes) of one with
            random weights.
        tokenizer: Folder or name of the tokeniser; None for the model's own, "words" for the package's small
            vocabulary.
        adapter: Low-rank adapters on the language layers, or None to train these themselves.
        frozen: Whether the language layers keep their weights.
        train_projector: Whether what leads from the tower to the language layers is trained.
        image_size: Height and width of the tower's input in pixels, for families that take any.
        max_length: Longest row of tokens, the image's included.
        new_tokens: What the rows of added tokens begin as: the mean of all others, or random.
        dtype: Precision of the weights.
        quantization: Whether linear layers are held in 4 or 8 bits; needs a CUDA device and bitsandbytes.
        recompute: Whether training computes each block a second time rather than keep what it computed; less memory.
        download: Whether what is not here may be fetched from the hub.
    """

    has_tower = True

    def __init__(
        self,
        model: str | dict[str, Any],
        tokenizer: str | None = None,
        adapter: LoRA | None = None,
        frozen: bool = False,
        train_projector: bool = False,
        image_size: int = 448,
        max_length: int = 2048,
        new_tokens: Literal["mean", "random"] = "mean",
        dtype: Literal["float32", "bfloat16"] = "float32",
        quantization: Quantization | None = None,
        recompute: bool = False,
        download: bool = False,
    ) -> None:
        super().__init__()
        if tokenizer is None and isinstance(model, dict):
            raise ConfigError('tokenizer: a model of settings has none; give a folder, or "words"')
        self.model = model
        self.tokenizer_name = tokenizer
        self.adapter = adapter
        self.frozen = frozen
        self.train_projector = train_projector
        self.image_size = image_size
        self.max_length = max_length
        self.new_tokens = new_tokens
        self.weights_dtype = getattr(torch, dtype)
        self.quantization = quantization
        self.recompute = recompute
        self.download = download

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.vlm.config.get_text_config().hidden_size)

    @property
    def text_processor(self) -> TextProcessor:
        """The tokeniser with the image in its place."""
        return self._text_processor

    @property
    def tower_processor(self) -> ImageProcessor:
        """The whole image as a square, normalised as the tower was trained."""
        return SquashImageProcessor((self.side, self.side), *self._normalisation)

    @property
    def side(self) -> int:
        """Height and width of the tower's input in pixels."""
        return self._family.input_side(self.vlm.config, self.image_size)

    @property
    def grid(self) -> int:
        """Image tokens along a side."""
        return self._family.grid(self.vlm.config, self.image_size)

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens.

        Args:
            features: Not read, since the model has a visual tower of its own.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            ConfigError: If model or tokeniser are not here, of an unknown family, do not fit, or cannot be quantized.
        """
        check_quantization(self.quantization, self.model)
        config = read_config(self.model, self.download)
        self._check(config)
        self._normalisation = tower_normalisation(self.model, self.download)
        tokenizer = read_tokenizer(self.tokenizer_name or str(self.model), self.download)
        own = unknown([PREFIX_END], tokenizer) if family_of(config).prefix else []
        fresh = add_tokens(tokenizer, [*special_tokens, *own])
        self.vlm = read_model(
            AutoModelForImageTextToText, self.model, self.weights_dtype, self.quantization, self.download
        )
        grow_tables(self.vlm, tokenizer, fresh, self.new_tokens)
        self.image_token_id = tokenizer.convert_tokens_to_ids(special_tokens[2])
        self._text_processor = self._prepared_by(tokenizer, special_tokens[2])
        self._settle()

    def train(self, mode: bool = True) -> ImageTextModel:
        """Set the mode; what reads the image stays in evaluation mode unless its projector is trained."""
        super().train(mode)
        if hasattr(self, "vlm") and not self.train_projector:
            self.vlm.eval()
            self.decoder.train(mode)
        return self

    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Turn the tower's pixels ``[b, 3, h, w]`` into ``[b, i, d]``, or wider vectors (see ``embed``)."""
        pixels = visual[0].to(self.vlm.dtype)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_projector):
            return self._marked(self._family.tower.vectors(self.vlm.model, pixels, self.vlm.config))

    @property
    def tower(self) -> VisualTower:
        """The tower's patches as a map."""
        return Tower(self._family.tower, self.vlm.model, self.vlm.config, self.tower_processor, self.side)

    def embed_map(self, features: Tensor) -> Tensor:
        """Turn the tower's map ``[b, c, h, w]`` into what ``embed_image`` gives."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.train_projector):
            features = features.to(self.vlm.dtype)
            return self._marked(self._family.tower.project(self.vlm.model, features, self.vlm.config))

    def embed(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of tokens ``[r, t]``, with the image's vectors at their image tokens.

        Where k vectors of an image token enter as many layers, they stand side by side, ``[r, t, k*d]``, and nothing
        (zeros) beside the words. Where a prefix is read in both directions, a last channel says 1 in it,
        ``[r, t, d+1]``.
        """
        words: Tensor = self.vlm.get_input_embeddings()(input_ids)
        places = input_ids == self.image_token_id
        if image_vectors.shape[1]:
            words = nn.functional.pad(words, (0, image_vectors.shape[2] - words.shape[2]))
        embedded = words.masked_scatter(places[..., None], image_vectors.to(words.dtype)[places.any(1)])
        if isinstance(self._text_processor, PrefixFirst) and image_vectors.shape[1]:
            embedded[..., -1] = prefix_of(input_ids, self._text_processor.prefix_end_id).to(words.dtype)
        return embedded

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Any = None,  # noqa: ANN401
    ) -> Tensor:
        """Compute hidden states ``[r, t, d]`` after the final norm."""
        image = self._text_processor.first, self.grid
        config = self.decoder.config
        given = decoder_input(self._family, config, embeddings, attention_mask, position_ids, image)
        hidden: Tensor = self.decoder(**given, past_key_values=cache, use_cache=cache is not None).last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn hidden states ``[..., d]`` into token logits ``[..., v]``."""
        logits: Tensor = self.vlm.get_output_embeddings()(hidden)
        cap = getattr(self.decoder.config, "final_logit_softcapping", None) if self._family.prefix else None
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def new_cache(self) -> Any:  # noqa: ANN401
        """Return an empty key-value cache."""
        return whole_cache(self.decoder.config)

    @property
    def decoder(self) -> nn.Module:
        """The language layers."""
        return _decoder(self.vlm)

    @property
    def _family(self) -> Family:
        return family_of(self.vlm.config)

    def _marked(self, vectors: Tensor) -> Tensor:
        """Say that images are in the prefix, where there is one."""
        return nn.functional.pad(vectors, (0, 1), value=1.0) if self._family.prefix else vectors

    def _prepared_by(self, tokenizer: Any, image_token: str) -> ImageFirst:  # noqa: ANN401
        enclosing = self._family.enclosing
        kind = PrefixFirst if self._family.prefix else ImageFirst
        return kind(
            tokenizer=tokenizer,
            image_token=image_token,
            image_tokens=self._family.image_tokens(self.vlm.config, self.image_size),
            end_token_id=tokenizer.eos_token_id,
            padding_token_id=tokenizer.pad_token_id,
            max_length=self.max_length,
            enclosing=enclosing if set(tokenizer.get_vocab()).issuperset(enclosing) else ("", ""),
        )

    def _check(self, config: Any) -> None:  # noqa: ANN401
        """Check what can be checked before weights are read."""
        check_config(config, self.image_size, self.max_length)
        if self.adapter is not None:
            self.adapter.check(_decoder(outline(AutoModelForImageTextToText, config, self.model)))

    def _settle(self) -> None:
        language = {id(parameter) for parameter in self.decoder.parameters()}
        head = {id(parameter) for parameter in self.vlm.get_output_embeddings().parameters()}
        for name, parameter in self.vlm.named_parameters():
            if id(parameter) in language | head:
                parameter.requires_grad_(not self.frozen and self.quantization is None)
            else:
                parameter.requires_grad_(self.train_projector and _is_projector(name))
        if self.recompute:
            self.vlm.gradient_checkpointing_enable({"use_reentrant": False})
        if self.adapter is not None:
            self.adapter.inject(self.vlm, inside=self.decoder)


def _decoder(vlm: Any) -> nn.Module:  # noqa: ANN401
    inner = vlm.model
    decoder: nn.Module = inner.language_model if hasattr(inner, "language_model") else inner.text_model
    return decoder


def _is_projector(name: str) -> bool:
    parts = ("multi_modal_projector", "image_newline", "connector", "visual.merger", "visual.deepstack_merger_list")
    return any(part in name for part in parts)
