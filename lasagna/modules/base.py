"""The contracts of the three parts that the assistant joins.

Each part states its contract as attributes, brings its own preprocessing and never sees the others. Constructors are
cheap: they only store settings. ``build`` makes the layers and loads weights once the assistant knows the other parts.

Notation: b: images; r: rows (dialogues); t: tokens; i: image tokens; d: hidden size; w: width of embeddings; n: mask
prompts; for maps, c, h, w: channels, height, width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lightning import LightningModule
from torch import Tensor, nn

from lasagna.core.config import Configurable, config_of
from lasagna.core.processors import ImageProcessor, TextProcessor
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.visual_prompt import FittedPrompt
from lasagna.errors import ConfigError
from lasagna.modules.mask_prediction import MaskPrediction


@dataclass(frozen=True)
class FeatureSpec:
    """The feature maps that a vision encoder returns: the main one first, then finer ones for sharp masks, if any.

    Several maps may have one stride, as those of several layers of a transformer; mask heads use the first of them.

    Args:
        channels: Channels of each map.
        strides: Input pixels per cell of each map, whole numbers for most encoders.
        image_size: Height and width of the encoder's input in pixels.

    Raises:
        ConfigError: If the numbers of channels and strides differ.
    """

    channels: tuple[int, ...]
    strides: tuple[float, ...]
    image_size: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that each map has channels and a stride."""
        if len(self.channels) != len(self.strides):
            raise ConfigError(
                f"spec: {len(self.channels)} channels and {len(self.strides)} strides; each map needs one of each"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Height and width of the main map in cells."""
        return int(self.image_size[0] // self.strides[0]), int(self.image_size[1] // self.strides[0])

    @property
    def sizes(self) -> tuple[str, ...]:
        """Each map in words: channels, height and width in cells, and stride."""
        rows, columns = self.image_size
        parts = zip(self.channels, self.strides, strict=True)
        return tuple(f"{width} x {rows // step:g} x {columns // step:g}, stride {step:g}" for width, step in parts)


class VisionEncoder(Configurable, LightningModule):
    """Turns prepared images into feature maps."""

    @property
    @abstractmethod
    def spec(self) -> FeatureSpec:
        """The maps that ``forward`` returns; known once built."""

    @property
    @abstractmethod
    def image_processor(self) -> ImageProcessor:
        """The resize, padding and normalisation that the encoder expects; safe to send to a worker process."""

    @property
    def stride(self) -> float:
        """Input pixels per cell of the main map."""
        return self.spec.strides[0]

    @property
    def cache_key(self) -> str:
        """What the maps depend on besides weights and pixels, for caches of them; known once built."""
        return str(config_of(self))

    @abstractmethod
    def build(self) -> None:
        """Make the layers and load pretrained weights."""

    @abstractmethod
    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images.

        Args:
            pixels: Prepared images, float ``[b, 3, H, W]``.

        Returns:
            The maps that ``spec`` describes, each float ``[b, c, h, w]``.
        """


class VisualTower(nn.Module):
    """A language model's own visual tower up to the projector, which ``SharedTower`` also uses for the mask head.

    Args:
        spec: The one map that ``forward`` returns.
        image_processor: The resize, padding and normalisation that the tower expects.
        cache_key: What the map depends on besides weights and pixels.
    """

    def __init__(self, spec: FeatureSpec, image_processor: ImageProcessor, cache_key: str) -> None:
        super().__init__()
        self.spec = spec
        self.image_processor = image_processor
        self.cache_key = cache_key

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images ``[b, 3, H, W]`` to the map that ``spec`` describes, float ``[b, c, h, w]``."""


class LanguageModel(Configurable, LightningModule):
    """Reads an image and text, and predicts text."""

    has_tower = False
    """Whether the model has a visual tower of its own, which the mask head can use through ``tower``."""

    @property
    def reads_sentences(self) -> bool:
        """Whether the model comes with weights that were trained on sentences, which prompts should be for it."""
        return False

    @property
    @abstractmethod
    def hidden_size(self) -> int:
        """Width of the hidden states."""

    @property
    @abstractmethod
    def text_processor(self) -> TextProcessor:
        """The tokeniser, which puts in one image token for each image vector; known once built."""

    @property
    def tower_processor(self) -> ImageProcessor | None:
        """Processor of the model's own visual tower, or None if the model reads the vision encoder's features."""
        return None

    def adopt(self, prompt_format: PromptFormat) -> PromptFormat:
        """Return a prompt format as this model is asked in it; called before ``build``.

        Args:
            prompt_format: The format that the assistant was given.

        Returns:
            The same, unless its prompts are messages that the model's chat template turns into prompts.

        Raises:
            ConfigError: If the model has no chat template, and the format asks for one.
        """
        if prompt_format.chat_template:
            raise ConfigError(
                f"prompt_format: {type(self).__name__} has no chat template; set `prompt_format: paper`, `tiny` for "
                "TinyLanguageModel, or `released` for LlavaV1"
            )
        return prompt_format

    @abstractmethod
    def build(self, features: FeatureSpec, special_tokens: Sequence[str]) -> None:
        """Make the layers, load pretrained weights and add tokens.

        Args:
            features: The vision encoder's maps, for models without a visual tower of their own.
            special_tokens: Tokens that must be single tokens: present, absent and image token, in this order, then the
                markers of the prompts, if any.
        """

    @abstractmethod
    def embed_image(self, visual: Sequence[Tensor]) -> Tensor:
        """Turn images into the vectors that replace the image tokens.

        Args:
            visual: The vision encoder's maps, or a single tensor: the tower's pixels ``[b, 3, h, w]``.

        Returns:
            Float ``[b, i, w]``, i vectors per image. The width w is d, unless a model needs more for each token: k*d
            where k vectors enter as many layers, d+1 where the last channel marks a prefix.
        """

    @property
    def tower(self) -> VisualTower:
        """The model's own visual tower, whose weights stay in the model; known once built.

        Raises:
            ConfigError: If it has none, or one whose patches do not form a grid.
        """
        raise ConfigError(f"language_model: {type(self).__name__} has no visual tower of its own")

    def embed_map(self, features: Tensor) -> Tensor:
        """Turn the map that ``tower`` returns for images into what ``embed_image`` returns for them.

        Args:
            features: Float ``[b, c, h, w]``.

        Returns:
            Image vectors, as wide as those of ``embed_image``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no visual tower of its own")

    @abstractmethod
    def embed(self, input_ids: Tensor, image_vectors: Tensor) -> Tensor:
        """Embed rows of tokens.

        Args:
            input_ids: Long ``[r, t]``.
            image_vectors: What ``embed_image`` returned for the image of each row, or for its images one after the
                other, filled up at the end, float ``[r, i, w]``; empty, ``[r, 0, w]``, for rows that continue after
                their image.

        Returns:
            Float ``[r, t, w]``; ``[r, t, d]`` for rows that continue after their image.
        """

    @abstractmethod
    def forward(
        self,
        embeddings: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Any = None,  # noqa: ANN401
    ) -> Tensor:
        """Compute hidden states.

        Args:
            embeddings: What ``embed`` returned, float ``[r, t, w]`` or ``[r, t, d]``.
            attention_mask: 1 for real tokens, long ``[r, past + t]``.
            position_ids: Long ``[r, t]``.
            cache: Key-value cache from ``new_cache``, extended in place, or None.

        Returns:
            Hidden states after the final norm, float ``[r, t, d]``.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Turn hidden states ``[..., d]`` into token logits ``[..., v]``."""

    @abstractmethod
    def new_cache(self) -> Any:  # noqa: ANN401
        """Return an empty key-value cache with ``crop(-count)``, which removes the last tokens."""


class MaskHead(Configurable, LightningModule):
    """Turns feature maps and prompts into masks: one for each prompt, or several with scores."""

    takes_visual_prompts = False
    """Whether ``draw`` takes points, boxes and masks."""

    @property
    def most_masks(self) -> int:
        """Most masks of a prompt; training says how many objects are left out by it."""
        return 1

    @property
    @abstractmethod
    def prompt_dim(self) -> int:
        """Width of a prompt."""

    @abstractmethod
    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps and load pretrained weights."""

    @abstractmethod
    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor | MaskPrediction:
        """Predict one mask for each prompt, or several.

        Args:
            features: The vision encoder's maps, each float ``[b, c, h, w]``.
            prompts: Float ``[n, prompt_dim]``.
            image_index: Index of each prompt's image, long ``[n]``.

        Returns:
            Mask logits over the whole padded input, float ``[n, h', w']``, or a prediction of several masks for each
            prompt. Even without prompts they must depend on all parameters, so that each gets a gradient (of zeros), as
            distributed training expects.
        """

    def draw(self, features: Sequence[Tensor], words: Tensor | None, visual: FittedPrompt) -> Tensor:
        """Predict one mask from points, a box and an earlier mask; heads that do so set ``takes_visual_prompts``.

        Args:
            features: The vision encoder's maps of one image, each float ``[1, c, h, w]``.
            words: The prompt of the language model that stands beside them, float ``[prompt_dim]``, or None.
            visual: Points, box and mask.

        Returns:
            Mask logits over the whole padded input, float ``[h', w']``.
        """
        raise NotImplementedError(f"{type(self).__name__} takes no points, boxes or masks")
