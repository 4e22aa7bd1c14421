"""Any supported image-text model of transformers as a language model with a visual tower of its own.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size; v: vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, ImageProcessingMixin, PreTrainedTokenizerBase

from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisualTower
from lasagna.modules.decoding.recurrent import check_recurrent
from lasagna.modules.image_processors import SquashImageProcessor
from lasagna.modules.image_text.families import check_config, family_of
from lasagna.modules.image_text.family import Family
from lasagna.modules.image_text.inputs import ImagePlace, decoder_input, numbered, shifted_positions, with_numbers
from lasagna.modules.image_text.text import PREFIX_END, ImageFirst, PrefixFirst, prefix_of
from lasagna.modules.image_text.towers import Tower
from lasagna.modules.language_models.chat_template import ChatTemplate, processor_template
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import WORDS, Quantization, outline, read_config, unknown
from lasagna.modules.language_models.pretrained_model import PretrainedLanguageModel
from lasagna.modules.language_models.text_processor import ChatTextProcessor

Channels = tuple[float, float, float]

MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
"""CLIP's mean of red, green and blue, for models that name no other."""

DEVIATION: Channels = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's standard deviation of red, green and blue, for models that name no other."""


class ImageTextModel(PretrainedLanguageModel):
    """A model that has already learned to read images; ``FAMILIES`` lists those that are supported.

    The tower sees all of the image, resized to a square, and is not trained.

    Args:
        model: Folder in transformers' layout, a name on the hub, or settings ("model_type" and sizes) of one with
            random weights.
        tokenizer: Folder or name of the tokeniser; None for the model's own, "words" for the package's small
            vocabulary.
        adapter: Low-rank adapters on the language layers, or None to train these themselves.
        frozen: Whether the language layers keep their weights.
        train_projector: Whether the layers between tower and language layers are trained.
        image_size: Height and width of the tower's input in pixels, for families that take any.
        max_length: Longest row of tokens, the image's included.
        new_tokens: Initial embeddings of added tokens: the mean of all others, or random; always random if word
            embeddings and output layer are not trained.
        dtype: Precision of the weights.
        quantization: Whether linear layers are held in 4 or 8 bits; needs a CUDA device and bitsandbytes.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
        download: Whether missing files may be downloaded from the hub.
        family: A family of your own, or None for the one that ``FAMILIES`` has for the model.
    """

    auto_class = AutoModelForImageTextToText
    _text_processor: ImageFirst | ChatTextProcessor
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
        family: Family | None = None,
    ) -> None:
        super().__init__(
            model, tokenizer, adapter, frozen, max_length, new_tokens, dtype, quantization, recompute, download
        )
        self.family = family
        self.train_projector = train_projector
        self.image_size = image_size

    @property
    def network(self) -> Any:  # noqa: ANN401
        """The network of transformers."""
        return self.vlm

    @property
    def decoder(self) -> Any:  # noqa: ANN401
        """The language layers."""
        return self._decoder(self.vlm)

    @property
    def adapted(self) -> nn.Module:
        """The language layers."""
        adapted: nn.Module = self.decoder
        return adapted

    @property
    def logit_cap(self) -> float | None:
        """Bound of the logits, which transformers applies in families that read a prefix only."""
        return super().logit_cap if self._family.prefix else None

    @property
    def tower_processor(self) -> ImageProcessor:
        """All of the image as a square, normalised as in the tower's training."""
        return SquashImageProcessor((self.side, self.side), *self._normalisation)

    @property
    def side(self) -> int:
        """Height and width of the tower's input in pixels."""
        return self._family.input_side(self.vlm.config, self.image_size)

    @property
    def grid(self) -> int:
        """Image tokens along a side."""
        return self._family.grid(self.vlm.config, self.image_size)

    @property
    def _family(self) -> Family:
        return family_of(self.vlm.config, self.family)

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens.

        Args:
            features: Not read, since the model has a visual tower of its own.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            ConfigError: If the model or tokeniser is missing, does not fit, cannot be quantized, or is of an unknown
                family.
        """
        self._normalisation = tower_normalisation(self.model, self.download)
        self.vlm, tokenizer = self.read(special_tokens)
        family = self._family
        arguments = {"kind": PrefixFirst if family.prefix else ImageFirst, **self.chat_arguments(tokenizer)}
        self.set_text_processor(
            tokenizer,
            special_tokens[2],
            family.image_tokens(self.vlm.config, self.image_size),
            self.max_length,
            enclosing=family.enclosing_text(tokenizer.get_vocab()),
            **arguments,
        )
        self.set_trainable()

    def chat_template(self, tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
        """Return the chat template of the model's processor, or else of its tokeniser.

        Raises:
            ConfigError: If the family reads a prefix, in which there are no turns.
        """
        config, name = read_config(self.source, self.download), self.tokenizer_source
        family = family_of(config, self.family)
        if family.prefix:
            raise ConfigError(
                f"prompt_format: {family.name} reads one question and has no chat template; set `prompt_format: paper`"
            )
        template = None if name == WORDS else processor_template(name, self.download)
        enclosing = family.enclosing_text(tokenizer.get_vocab())
        image_token = family.image_token(config, tokenizer)
        return ChatTemplate(name, tokenizer, template, image_token, enclosing, family.placeholder)

    def chat_arguments(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
        """Return the arguments of the text processor; as processors do, add a start token that a template lacks."""
        arguments, always = super().chat_arguments(tokenizer), self._family.starts
        start = tokenizer.bos_token or (tokenizer.eos_token if always else None)
        if arguments and start is not None and not arguments["sample"].startswith(start):
            number = tokenizer.convert_tokens_to_ids(start)
            arguments["start_ids"] = (number,) if always or tokenizer("a").input_ids[0] == number else ()
        return arguments

    def check(self, config: Any) -> None:  # noqa: ANN401
        """Check family, sizes and adapters before weights are read."""
        check_config(config, family_of(config, self.family), self.image_size, self.max_length)
        check_recurrent(config.get_text_config())
        if self.adapter is not None:
            self.adapter.check(self._decoder(outline(self.auto_class, config, self.model)))

    def own_tokens(self, config: Any, tokenizer: Any) -> Sequence[str]:  # noqa: ANN401
        """Return the token that ends a prefix, where the family reads one and the tokeniser has none."""
        return unknown([PREFIX_END], tokenizer) if family_of(config, self.family).prefix else []

    def freeze_network(self) -> None:
        """Freeze the tower, and what is not to be trained of the projector and the language layers."""
        head, projector = self.vlm.get_output_embeddings(), self._family.projector
        language = {id(parameter) for part in (self.decoder, head) for parameter in part.parameters()}
        for name, parameter in self.vlm.named_parameters():
            if id(parameter) in language:
                parameter.requires_grad_(not self.frozen and self.quantization is None)
            else:
                parameter.requires_grad_(self.train_projector and any(part in name for part in projector))

    def train(self, mode: bool = True) -> ImageTextModel:
        """Set the mode; tower and projector stay in evaluation mode unless the projector is trained."""
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

        Where k vectors of an image token enter as many layers, they lie side by side, ``[r, t, k*d]``, and words are
        padded with zeros. Where a prefix is read in both directions, a last channel is 1 in it, ``[r, t, d+1]``. Where
        several images are shown, and positions or attention depend on them, a last channel numbers them.
        """
        embedded, tokens = super().embed(input_ids, image_vectors), self._text_processor.image_tokens
        if (self._family.axes or self._family.mutual) and image_vectors.shape[1] > tokens:
            return with_numbers(embedded, input_ids == self.image_token_id, tokens)
        if isinstance(self._text_processor, PrefixFirst) and image_vectors.shape[1]:
            embedded[..., -1] = prefix_of(input_ids, self._text_processor.prefix_end_id).to(embedded.dtype)
        return embedded

    def embed_words(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of words ``[r, t]``, padded with zeros to the width of image vectors ``[r, i, w]``, if any."""
        words = super().embed_words(input_ids, image_vectors)
        if image_vectors.shape[1]:
            words = nn.functional.pad(words, (0, image_vectors.shape[2] - words.shape[2]))
        return words

    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Any = None,  # noqa: ANN401
    ) -> Tensor:
        """Compute hidden states ``[r, t, d]`` after the final norm; the cache keeps how far several images shift."""
        if self._family.axes:
            _, numbers = numbered(embeddings, self.hidden_size)
            position_ids = shifted_positions(position_ids, numbers, self.grid, cache)
        return super().forward(embeddings, attention_mask, position_ids, cache)

    def decoder_arguments(self, embeddings: Tensor, attention_mask: Tensor, position_ids: Tensor) -> dict[str, Any]:
        """Return what the language layers read, by transformers' names."""
        image = ImagePlace(self._text_processor.first, self._text_processor.image_tokens, self.grid)
        return decoder_input(self._family, self.decoder.config, embeddings, attention_mask, position_ids, image)

    def _decoder(self, vlm: Any) -> nn.Module:  # noqa: ANN401
        decoder: nn.Module = vlm.model.get_submodule(family_of(vlm.config, self.family).language_layers)
        return decoder

    def _marked(self, vectors: Tensor) -> Tensor:
        """Mark image vectors as part of the prefix, in families that read one."""
        return nn.functional.pad(vectors, (0, 1), value=1.0) if self._family.prefix else vectors


def tower_normalisation(model: str | dict[str, Any], download: bool) -> tuple[Channels, Channels]:
    """Return the mean and standard deviation of each channel in a tower's training, for values in [0, 1].

    Args:
        model: A folder, a name on the hub, or settings, which have no processor.
        download: Whether the network may be used.

    Raises:
        ConfigError: If the processor's file cannot be read.
    """
    settings = {} if isinstance(model, dict) else _processor(model, download)
    if not settings.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _channels(settings.get("image_mean") or MEAN), _channels(settings.get("image_std") or DEVIATION)


def _processor(model: str, download: bool) -> dict[str, Any]:
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(model, local_files_only=not download)
    except (OSError, ValueError) as error:
        if "valid JSON" in str(error):
            raise ConfigError(f"model: the image processor of {model!r} cannot be read; download it again") from error
        return {}  # the model has no image processor
    return dict(settings)


def _channels(values: Any) -> Channels:  # noqa: ANN401
    red, green, blue = map(float, values)
    return red, green, blue
