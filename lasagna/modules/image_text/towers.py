"""Visual towers of image-text models as one map of patches, and what leads from the map to image tokens.

The map is what the tower gives before anything merges patches or changes their width. Each half is proven by a test:
together they are what transformers' own ``get_image_features`` gives.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height and width of the map; i: image
tokens; d: hidden size; m: patches along a side of an image token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lasagna.batch import ImagePreparation
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisualTower


class TowerReading(ABC):
    """How a kind of tower is read. All methods take the model's config."""

    @abstractmethod
    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower of a model, transformers' inner one without output layer."""

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the channels of the map."""
        return int(config.vision_config.hidden_size)

    def check(self, config: Any) -> None:  # noqa: ANN401, B027 - most towers always fit
        """Check that the tower's patches are a grid.

        Raises:
            ConfigError: If they are none.
        """

    @abstractmethod
    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Encode images ``[b, 3, H, W]`` to their patches, row by row, float ``[b, h*w, c]``."""

    @abstractmethod
    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Turn maps ``[b, c, h, w]`` into image tokens ``[b, i, d]``."""


class Tower(VisualTower):
    """The tower of an image-text model.

    Args:
        reading: How its kind is read.
        model: Transformers' inner model, without output layer.
        config: The model's config.
        patch: Pixels along a side of a patch.
        preparation: What prepares its images.
        side: Height and width of its input in pixels.

    Raises:
        ConfigError: If its patches are no grid.
    """

    def __init__(
        self,
        reading: TowerReading,
        model: nn.Module,
        config: Any,  # noqa: ANN401
        patch: int,
        preparation: ImagePreparation,
        side: int,
    ) -> None:
        reading.check(config)
        covered = side // patch * patch
        spec = FeatureSpec((reading.channels(config),), (patch,), (covered, covered))
        layer = getattr(config, "vision_feature_layer", None)
        super().__init__(spec, preparation, f"{config.model_type} {layer} {config.vision_config.to_dict()}")
        self.reading = reading
        self.config = config
        self.network = reading.network(model)

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images ``[b, 3, H, W]`` to ``[b, c, h, w]``."""
        patches = self.reading.patches(self.network, pixels, self.config)
        return patches.transpose(1, 2).reshape(len(pixels), -1, *self.spec.grid)


class LayerTower(TowerReading):
    """A CLIP or SigLIP of which one layer is read, as LLaVA does, or several, side by side as channels."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower."""
        return _part(model, "vision_tower")

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the channels of all layers that are read."""
        return len(_layers(config)) * super().channels(config)

    def check(self, config: Any) -> None:  # noqa: ANN401
        """Check that the class token is left out, where there is one."""
        if config.vision_feature_select_strategy != "default" and config.vision_config.model_type.startswith("clip"):
            raise ConfigError(
                "vision_encoder: SharedTower needs patches alone, but this language model reads CLIP's class token too "
                f"(vision_feature_select_strategy {config.vision_feature_select_strategy!r}); take a vision encoder "
                "with weights of its own"
            )

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the layers that the projector reads, without class token."""
        layers = _layers(config)
        states = network(pixels, output_hidden_states=layers, return_dict=True).hidden_states
        first = 1 if config.vision_feature_select_strategy == "default" else 0
        return torch.cat([states[layer][:, first:] for layer in layers], -1)

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Project patch by patch."""
        vectors: Tensor = _part(model, "multi_modal_projector")(features.flatten(2).transpose(1, 2))
        return vectors


class ShuffledTower(LayerTower):
    """InternVL's tower, whose patches are shuffled into fewer and wider ones before the projector."""

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the layer that is read; the last one has passed the final norm."""
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


class ConnectedTower(TowerReading):
    """The tower of SmolVLM and Idefics3, whose connector shuffles and projects."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower."""
        return _part(model, "vision_model")

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the last layer after the final norm."""
        patches: Tensor = network(pixel_values=pixels, return_dict=True).last_hidden_state
        return patches

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Shuffle and project."""
        vectors: Tensor = _part(model, "connector")(features.flatten(2).transpose(1, 2))
        return vectors


class MergedTower(TowerReading):
    """The tower of Qwen2-VL and its successors, which goes through patches group by group: one group an image token."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower; its merger is part of it."""
        return _part(model, "visual")

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the width of the tower's layers."""
        vision = config.vision_config
        return int(vision.embed_dim if vision.model_type.startswith("qwen2_vl") else vision.hidden_size)

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the last layer before the merger, row by row."""
        output = network(**merged_input(pixels, config), return_dict=True)
        return self.in_rows(output.last_hidden_state, pixels, config)

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Group patches, and merge each group."""
        groups = grouped(features, config)
        merged: Tensor = _part(model, "visual.merger")(groups.flatten(0, 2))
        return merged.reshape(len(features), groups.shape[1], -1)

    def in_rows(self, states: Tensor, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Put patches ``[b*h*w, c]`` from the tower's order into rows, ``[b, h*w, c]``."""
        vision = config.vision_config
        merge = vision.spatial_merge_size
        height, width = (side // (vision.patch_size * merge) for side in pixels.shape[2:])
        groups = states.reshape(len(pixels), height * width, merge, merge, -1)
        rows = groups[:, self.order(height, width, config).to(states.device)]
        return rows.reshape(len(pixels), height, width, merge, merge, -1).transpose(2, 3).flatten(1, 4)

    def order(self, height: int, width: int, config: Any) -> Tensor:  # noqa: ANN401
        """Say at which place of the tower's order each group stands, counted row by row, long ``[groups]``."""
        return torch.arange(height * width)


class WindowedTower(MergedTower):
    """The tower of Qwen2.5-VL, which goes through the groups window by window (arXiv 2502.13923, section 2.1.1)."""

    def order(self, height: int, width: int, config: Any) -> Tensor:  # noqa: ANN401
        """Count windows row by row, and in each its groups."""
        vision = config.vision_config
        side = vision.window_size // vision.spatial_merge_size // vision.patch_size
        cells = [(row // side, column // side, row, column) for row in range(height) for column in range(width)]
        places = sorted(range(len(cells)), key=cells.__getitem__)
        return torch.tensor(places).argsort()


def merged_input(pixels: Tensor, config: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Cut images into patches, those that will become one token beside each other, as Qwen2-VL's processor does."""
    vision = config.vision_config
    patch, merge = vision.patch_size, vision.spatial_merge_size
    count, (height, width) = len(pixels), (side // patch for side in pixels.shape[2:])
    frames = pixels[:, None].expand(-1, vision.temporal_patch_size, -1, -1, -1)
    # [b, time, channel, row of tokens, row in a token, pixel, column of tokens, column in a token, pixel]
    cut = frames.unflatten(4, (width // merge, merge, patch)).unflatten(3, (height // merge, merge, patch))
    flat = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).flatten(5).flatten(0, 4)
    return {"hidden_states": flat, "grid_thw": torch.tensor([[1, height, width]] * count, device=pixels.device)}


def grouped(features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
    """Return maps ``[b, c, h, w]`` as the patches of one image token after the other, ``[b, i, m*m, c]``."""
    merge = config.vision_config.spatial_merge_size
    height, width = (side // merge for side in features.shape[2:])
    cells = features.reshape(*features.shape[:2], height, merge, width, merge)
    return cells.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def _layers(config: Any) -> list[int]:  # noqa: ANN401
    layers = config.vision_feature_layer
    return list(layers) if isinstance(layers, Sequence) else [int(layers)]


def _part(model: nn.Module, name: str) -> nn.Module:
    return model.get_submodule(name)
