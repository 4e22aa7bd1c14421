"""Visual towers of image-text models in two halves: from pixels to a map of patches, and from there to image tokens.

The map is the output of the tower before patches are merged or projected, which a mask head can read too. A test checks
that both halves together give the result of transformers' ``get_image_features``.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height and width of the map; i: image
tokens; d: hidden size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisualTower

_CLASS_TOKEN = {"full": "it has no class token to leave out", "default": "its class token is kept"}


class TowerReading(ABC):
    """How towers of one kind are read. All methods take the model's config."""

    @abstractmethod
    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower of a model, which is given without its output layer."""

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the channels of the map."""
        return int(config.vision_config.hidden_size)

    def check(self, config: Any) -> None:  # noqa: ANN401, B027 - most towers need no check
        """Check that the tower's patches form a grid.

        Raises:
            ConfigError: If they do not.
        """

    def cache_key(self, config: Any) -> str:  # noqa: ANN401
        """Return what the map depends on besides weights and pixels."""
        layer = getattr(config, "vision_feature_layer", None)
        return f"{config.model_type} {layer} {config.vision_config.to_dict()}"

    @abstractmethod
    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Encode images ``[b, 3, H, W]`` to their patches, row by row, float ``[b, h*w, c]``."""

    def vectors(self, model: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Turn images ``[b, 3, H, W]`` into image tokens ``[b, i, d]``, by both halves."""
        return self.project(model, self.read(self.network(model), pixels, config), config)

    def read(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Encode images ``[b, 3, H, W]`` to their map, float ``[b, c, h, w]``."""
        grid = [side // patch_side(config) for side in pixels.shape[2:]]
        return self.patches(network, pixels, config).transpose(1, 2).reshape(len(pixels), -1, *grid)

    @abstractmethod
    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Turn maps ``[b, c, h, w]`` into image tokens ``[b, i, d]``."""


class Tower(VisualTower):
    """The tower of an image-text model.

    Args:
        reading: How towers of its kind are read.
        model: Transformers' model, without output layer.
        config: The model's config.
        image_processor: The image processor of the tower.
        side: Height and width of its input in pixels.
    """

    def __init__(
        self,
        reading: TowerReading,
        model: nn.Module,
        config: Any,  # noqa: ANN401
        image_processor: ImageProcessor,
        side: int,
    ) -> None:
        patch = patch_side(config)
        covered = side // patch * patch
        spec = FeatureSpec((reading.channels(config),), (patch,), (covered, covered))
        super().__init__(spec, image_processor, reading.cache_key(config))
        self.reading = reading
        self.config = config
        self.network = reading.network(model)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images ``[b, 3, H, W]`` to ``[b, c, h, w]``."""
        return self.reading.read(self.network, pixels, self.config)


class LayerTower(TowerReading):
    """A CLIP or SigLIP of which one layer is read, as in LLaVA, or several with concatenated channels."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower."""
        return _part(model, "vision_tower")

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the total channels of the layers that are read."""
        return len(_layers(config)) * super().channels(config)

    def check(self, config: Any) -> None:  # noqa: ANN401
        """Check that only a class token is left out."""
        strategy, kind = config.vision_feature_select_strategy, config.vision_config.model_type
        wanted = "full" if kind.startswith("siglip") else "default"
        if strategy != wanted:
            raise ConfigError(
                f"model: vision_feature_select_strategy {strategy!r} with a {kind!r} leaves no square of patches, "
                f"since {_CLASS_TOKEN[wanted]}; set it to {wanted!r} in the model's settings"
            )

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the layers that the projector reads, without class token."""
        layers = _layers(config)
        # a list of layers would save memory, but not all versions of transformers accept one
        states = network(pixels, output_hidden_states=True, return_dict=True).hidden_states
        first = 1 if config.vision_feature_select_strategy == "default" else 0
        return torch.cat([states[layer][:, first:] for layer in layers], -1)

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Project each patch."""
        vectors: Tensor = _part(model, "multi_modal_projector")(features.flatten(2).transpose(1, 2))
        return vectors


class LineTower(LayerTower):
    """The tower of LLaVA-NeXT and LLaVA-OneVision, which can also read an image as tiles.

    Here the image is read as one piece, followed by the model's vector for the end of a line.
    """

    def project(self, model: Any, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Project each patch, and append the end of the line."""
        vectors = super().project(model, features, config)
        end = model.image_newline.to(vectors).expand(len(vectors), 1, -1)
        return torch.cat([vectors, end], 1)


class FinalTower(TowerReading):
    """The tower of PaliGemma, a SigLIP that is read after its final norm."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower."""
        return _part(model, "vision_tower")

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the last layer after the final norm."""
        patches: Tensor = network(pixel_values=pixels, return_dict=True).last_hidden_state
        return patches

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Project each patch."""
        vectors: Tensor = _part(model, "multi_modal_projector")(features.flatten(2).transpose(1, 2))
        return vectors


class ShuffledTower(LayerTower):
    """InternVL's tower, whose patches pass a pixel shuffle, to fewer and wider ones, before the projector."""

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the layer that is read; the last one includes the final norm."""
        if config.vision_feature_layer != -1:
            return super().patches(network, pixels, config)
        first = 1 if config.vision_feature_select_strategy == "default" else 0
        patches: Tensor = network(pixel_values=pixels, return_dict=True).last_hidden_state[:, first:]
        return patches

    def project(self, model: Any, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Shuffle and project."""
        shuffled = model.pixel_shuffle(features.permute(0, 2, 3, 1), scale_factor=config.downsample_ratio)
        vectors: Tensor = _part(model, "multi_modal_projector")(shuffled.flatten(1, 2))
        return vectors


class ConnectedTower(FinalTower):
    """The tower of SmolVLM and Idefics3, whose connector shuffles and projects."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower."""
        return _part(model, "vision_model")

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Shuffle and project."""
        vectors: Tensor = _part(model, "connector")(features.flatten(2).transpose(1, 2))
        return vectors


def patch_side(config: Any) -> int:  # noqa: ANN401
    """Return the side of a patch of a model's tower in pixels."""
    side = config.vision_config.patch_size
    return int(side[0] if isinstance(side, list | tuple) else side)


def _layers(config: Any) -> list[int]:  # noqa: ANN401
    layers = config.vision_feature_layer
    return list(layers) if isinstance(layers, Sequence) else [int(layers)]


def _part(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)
