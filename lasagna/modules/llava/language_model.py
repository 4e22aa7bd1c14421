"""LLaVA v1 as a language model: a Llama that reads an image through a CLIP tower of its own.

Notation: b: images; r: rows; t: tokens; i: image tokens; d: hidden size; c, h, w: channels, height and width of a map.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from lasagna.core.processors import ImageProcessor
from lasagna.core.weights import reads_weights
from lasagna.errors import CheckpointError
from lasagna.modules.base import FeatureSpec, VisualTower
from lasagna.modules.checkpoints.files import fill, fitting, read_state
from lasagna.modules.language_models.base import TransformersLanguageModel
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.language_models.pretrained import Quantization, bits, check_quantization
from lasagna.modules.llava.outline import blank_state
from lasagna.modules.llava.settings import find_tower, llama_config, read_settings
from lasagna.modules.llava.text_processor import LlavaTextProcessor, added_tokens
from lasagna.modules.llava.tokenizer import read_tokenizer
from lasagna.modules.llava.tower import PatchMap, read_tower, tower_processor, tower_settings

_BY_TOKEN = ("model.embed_tokens.weight", "lm_head.weight")
_PROJECTOR = ("model.mm_projector.weight", "model.mm_projector.bias")
_ELSEWHERE = ("model.visual_model.", "model.text_hidden_fcs.", ".vision_tower.", ".rotary_emb.inv_freq")
"""Parts of the names of tensors of a release that other parts read, or that follow from the config."""
_SHOWN = 4


class LlavaV1(TransformersLanguageModel):
    """LLaVA v1 (arXiv 2304.08485), the base of LaSagnA's released weights; hidden states match the original's.

    Reads a folder in the layout of LLaVA v1 or of a LaSagnA release: ``config.json``, ``tokenizer.model``,
    ``added_tokens.json`` and weights, safetensors or PyTorch, in one file or several. The tower is not trained.

    Args:
        folder: The checkpoint's folder.
        vision_tower: Folder of the CLIP tower, which is not part of a release; None for the one that ``config.json``
            names. A relative path is looked up in the checkpoint's folder, its parent, and the working directory.
        adapter: Low-rank adapters, or None to train the Llama's own layers.
        train_projector: Whether the layer between tower and Llama is trained.
        centre_crop: Whether the tower sees the central square of an image, as in the original, or all of it, padded.
        max_length: Longest row of tokens, the image's included; None for that of ``config.json``.
        dtype: Precision of the weights of Llama, tower and projector; None for torch's default, whatever the file's.
        quantization: Whether the Llama's linear layers, except the output layer, are held in 4 or 8 bits, which freezes
            them; needs a CUDA device and bitsandbytes.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
    """

    has_tower = True
    _text_processor: LlavaTextProcessor

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
        super().__init__(adapter, dtype=dtype, quantization=quantization, recompute=recompute)
        self.folder = folder
        self.tower_folder = vision_tower
        self.train_projector = train_projector
        self.centre_crop = centre_crop
        self.max_length = max_length

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The checkpoint's ``config.json``, read on first use."""
        return read_settings(Path(self.folder))

    @property
    def network(self) -> Any:  # noqa: ANN401
        """The Llama."""
        return self.llama

    @property
    def tower_processor(self) -> ImageProcessor:
        """CLIP's image processor."""
        return self._tower_processor

    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load their weights and add tokens.

        Args:
            features: Not read, since the model has a visual tower of its own.
            special_tokens: Present, absent and image token, then the prompt format's markers.

        Raises:
            CheckpointError: If a folder, file or tensor is missing, cannot be read, or does not fit the others.
            ConfigError: If the model cannot be quantized here.
        """
        check_quantization(self.quantization, self.folder)
        folder, source = Path(self.folder), f"folder: {self.folder!r}"
        tower_folder = find_tower(folder, self.tower_folder, self.settings)
        present, absent, image, *markers = special_tokens
        own = read_tokenizer(folder)
        if reads_weights():
            state = read_state(folder)
        else:
            state = blank_state(self.settings, tower_settings(tower_folder), len(own))
        _check_rows(state, len(own), source)
        tokenizer = own.with_tokens(added_tokens(markers, present, absent))
        self.llama = _make_llama(self.settings, state, len(tokenizer), source, self.weights_dtype, self.quantization)
        layer = int(self.settings.get("mm_vision_select_layer", -2))
        self.vision_tower = read_tower(tower_folder, layer, self.weights_dtype)
        with torch.device("meta"):
            self.mm_projector = nn.Linear(self.vision_tower.width, self.hidden_size)
        fill(self.mm_projector, state, source, "model.mm_projector.", dtype=self.weights_dtype)
        _warn_of_unknown(state, {*self.llama.state_dict(), *_PROJECTOR}, source)
        self.set_trainable()
        # the image token comes after all words, where word embedding and output layer have no row
        self._text_processor = LlavaTextProcessor(
            tokenizer.with_tokens([image]),
            image,
            self.vision_tower.tokens,
            self.max_length or int(self.llama.config.max_position_embeddings),
        )
        self.image_token_id = self._text_processor.image_token_id
        self._tower_processor = tower_processor(tower_folder, self.vision_tower.side, self.centre_crop)

    @property
    def reads_sentences(self) -> bool:
        """Always, since it is read from a folder of weights."""
        return True

    def freeze_network(self) -> None:
        """Freeze the tower, the projector unless it is trained, and a quantized Llama."""
        super().freeze_network()
        self.vision_tower.requires_grad_(False)
        self.mm_projector.requires_grad_(self.train_projector)

    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Turn the tower's pixels, one tensor ``[b, 3, h, w]``, into ``[b, i, d]``."""
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

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the layers, as ``to`` does, but keep the rotary frequencies in full precision."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if hasattr(self, "llama"):
            _reset_rotary(self.llama)
        return self


def _make_llama(
    settings: Mapping[str, Any],
    state: Mapping[str, Tensor],
    vocabulary: int,
    source: str,
    dtype: torch.dtype | None,
    quantization: Quantization | None,
) -> LlamaForCausalLM:
    """Make a Llama that takes its weights from a state dict.

    Args:
        settings: The checkpoint's settings.
        state: Its tensors; those of other parts are ignored.
        vocabulary: Number of tokens. Rows of the word embedding and the output layer that the checkpoint lacks are
            drawn at random; surplus rows are dropped.
        source: Setting and place that the tensors come from, for messages.
        dtype: Precision of the weights; None for torch's default.
        quantization: Whether linear layers are held in 4 or 8 bits, through bitsandbytes on a GPU.

    Raises:
        CheckpointError: If tensors are missing or of another shape.
    """
    config = llama_config(settings, vocabulary)
    with torch.device("meta"):
        llama = LlamaForCausalLM(config)
    tensors = dict(state)
    for name in _BY_TOKEN:
        if name in state:
            weight = state[name][:vocabulary]
            fresh = torch.randn(vocabulary - len(weight), weight.shape[1]) * config.initializer_range
            tensors[name] = torch.cat([weight, fresh.to(weight)])
    if quantization is None:
        fill(llama, tensors, source, dtype=dtype)
        _reset_rotary(llama)
        return llama
    quantized: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(
        None,
        config=config,
        state_dict=fitting(llama, tensors, source),
        dtype=dtype or torch.get_default_dtype(),
        quantization_config=bits(quantization),
    )
    return quantized


def _reset_rotary(llama: LlamaForCausalLM) -> None:
    """Compute the frequencies of the rotary positions, which no checkpoint holds, in full precision.

    In half precision, late positions would be rotated by a wrong angle.
    """
    with llama.device:
        llama.model.rotary_emb = type(llama.model.rotary_emb)(llama.config)


def _check_rows(state: Mapping[str, Tensor], tokens: int, source: str) -> None:
    """Check that every token of the tokeniser has a row in word embedding and output layer; others would be random."""
    for name in _BY_TOKEN:
        if name in state and len(state[name]) < tokens:
            raise CheckpointError(
                f"{source} does not fit its tokeniser: {name} has {len(state[name])} rows for {tokens} tokens; take "
                "weights, tokenizer.model and added_tokens.json from one folder"
            )


def _warn_of_unknown(state: Mapping[str, Tensor], known: Collection[str], source: str) -> None:
    """Warn of tensors in a checkpoint that nothing reads."""
    unknown = [name for name in state if name not in known and not any(part in name for part in _ELSEWHERE)]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        warnings.warn(f"{source} holds tensors that nothing reads: {', '.join(unknown[:_SHOWN])}{more}", stacklevel=2)
