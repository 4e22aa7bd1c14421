"""LLaVA v1 as a language model: a Llama that reads an image through a CLIP tower of its own.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from lasagna.core.processors import ImageProcessor, TextProcessor
from lasagna.modules.base import FeatureSpec, LanguageModel, VisualTower
from lasagna.modules.checkpoints.files import fill, read_state
from lasagna.modules.decoding.cache import whole_cache
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import Quantization, check_quantization
from lasagna.modules.llava.llama import check_rows, make_llama, renew_positions, warn_of_unknown
from lasagna.modules.llava.settings import find_tower, read_settings
from lasagna.modules.llava.text_processor import LlavaTextProcessor, added_tokens
from lasagna.modules.llava.tokenizer import read_tokenizer
from lasagna.modules.llava.tower import PatchMap, read_tower, tower_processor

_PROJECTOR = ("model.mm_projector.weight", "model.mm_projector.bias")


class LlavaV1(LanguageModel):
    """LLaVA v1 (arXiv 2304.08485), the base of LaSagnA's released weights; hidden states are the original's.

    Reads a folder in the layout of LLaVA v1 or of a LaSagnA release: ``config.json``, ``tokenizer.model``,
    ``added_tokens.json`` and weights, safetensors or PyTorch, in one file or several. The tower is not trained.

    Args:
        folder: The checkpoint's folder.
        vision_tower: Folder of the CLIP tower, which a release does not hold; None for the one that ``config.json``
            names. A relative path may start at the checkpoint's folder, the one around it, or the working directory.
        adapter: Low-rank adapters, or None to train the Llama's own layers.
        train_projector: Whether the layer between tower and Llama is trained.
        centre_crop: Whether the tower sees the middle square of an image, as the original does, or all of it, padded.
        max_length: Longest row of tokens, the image's included; None for that of ``config.json``.
        dtype: Precision of the weights of Llama, tower and projector; None for torch's default, whatever the file's.
        quantization: Whether the Llama's linear layers are held in 4 or 8 bits, but for the output layer; needs a CUDA
            device and bitsandbytes. They are frozen then.
        recompute: Whether training computes each block a second time rather than keep what it computed; less memory.
    """

    has_tower = True

    def __init__(
        self,
        folder: str,
        vision_tower: str | None = None,
        adapter: LoRA | None = None,
        train_projector: bool = False,
        centre_crop: bool = True,
        max_length: int | None = None,
        dtype: Literal["float32", "bfloat16"] | None = None,
        quantization: Quantization | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.tower_folder = vision_tower
        self.adapter = adapter
        self.train_projector = train_projector
        self.centre_crop = centre_crop
        self.max_length = max_length
        self.weights_dtype: torch.dtype | None = None if dtype is None else getattr(torch, dtype)
        self.quantization = quantization
        self.recompute = recompute

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The checkpoint's ``config.json``, read when asked for."""
        return read_settings(Path(self.folder))

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states."""
        return int(self.settings["hidden_size"])

    @property
    def text_processor(self) -> TextProcessor:
        """The tokeniser with the image in its place."""
        return self._text_processor

    @property
    def tower_processor(self) -> ImageProcessor:
        """CLIP's preparation."""
        return self._tower_processor

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load their weights and add tokens.

        Args:
            features: Not read, since the model has a visual tower of its own.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            CheckpointError: If a folder, file or tensor is missing, cannot be read, or does not fit the others.
            ConfigError: If it cannot be quantized here.
        """
        check_quantization(self.quantization, self.folder)
        folder, source = Path(self.folder), f"folder: {self.folder!r}"
        place = find_tower(folder, self.tower_folder, self.settings)
        present, absent, image, *markers = special_tokens
        own, state = read_tokenizer(folder), read_state(folder)
        check_rows(state, len(own), source)
        tokenizer = own.with_tokens(added_tokens(markers, present, absent))
        self.llama = make_llama(self.settings, state, len(tokenizer), source, self.weights_dtype, self.quantization)
        layer = int(self.settings.get("mm_vision_select_layer", -2))
        self.vision_tower = read_tower(place, layer, self.weights_dtype)
        with torch.device("meta"):
            self.mm_projector = nn.Linear(self.vision_tower.width, self.hidden_size)
        fill(self.mm_projector, state, source, "model.mm_projector.", dtype=self.weights_dtype)
        warn_of_unknown(state, {*self.llama.state_dict(), *_PROJECTOR}, source)
        self._freeze()
        # the image token stands behind all words, where embedding and head have no row
        length = self.max_length or int(self.llama.config.max_position_embeddings)
        self._text_processor = LlavaTextProcessor(
            tokenizer.with_tokens([image]), image, self.vision_tower.tokens, length
        )
        self._tower_processor = tower_processor(place, self.vision_tower.side, self.centre_crop)

    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Turn the tower's pixels, the one tensor ``[b, 3, h, w]``, into ``[b, i, d]``."""
        vectors: Tensor = self.mm_projector(self.vision_tower(visual[0]))
        return vectors

    @property
    def tower(self) -> VisualTower:
        """CLIP's patches as a map."""
        return PatchMap(self.vision_tower, self.tower_processor)

    def embed_map(self, features: Tensor) -> Tensor:
        """Turn the tower's map ``[b, c, h, w]`` into ``[b, i, d]``."""
        vectors: Tensor = self.mm_projector(features.flatten(2).transpose(1, 2))
        return vectors

    def embed(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of tokens ``[r, t]``, with ``[r, i, d]`` at their image tokens."""
        places = input_ids == self._text_processor.image_token_id
        words: Tensor = self.llama.get_input_embeddings()(input_ids.masked_fill(places, 0))
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
        """Turn hidden states ``[..., d]`` into token logits ``[..., v]``; the image token has none."""
        logits: Tensor = self.llama.lm_head(hidden)
        return logits

    def new_cache(self) -> Any:  # noqa: ANN401
        """Return an empty key-value cache."""
        return whole_cache(self.llama.config)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the layers, as ``to`` and its like do, but for what must stay in full precision."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if hasattr(self, "llama"):
            renew_positions(self.llama)
        return self

    def _freeze(self) -> None:
        self.vision_tower.requires_grad_(False)
        self.mm_projector.requires_grad_(self.train_projector)
        if self.quantization is not None:
            self.llama.requires_grad_(False)
        if self.recompute:
            self.llama.gradient_checkpointing_enable({"use_reentrant": False})
        if self.adapter is not None:
            self.adapter.inject(self.llama)
