"""The towers of Qwen2-VL and its successors, which merge a group of patches into an image token.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height and width of the map; i: image
tokens; d: hidden size; m: patches along a side of an image token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lasagna.modules.image_text.towers import TowerReading


class MergedTower(TowerReading):
    """The tower of Qwen2-VL, whose patches are ordered group by group; each group becomes an image token."""

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower, which includes its merger."""
        return model.get_submodule("visual")

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the width of the tower's layers."""
        vision = config.vision_config
        return int(vision.embed_dim if vision.model_type.startswith("qwen2_vl") else vision.hidden_size)

    def vectors(self, model: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the output of the tower's own merger."""
        vectors: Tensor = self.network(model)(**merged_input(pixels, config), return_dict=True).pooler_output
        return vectors.reshape(len(pixels), -1, vectors.shape[1])

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the last layer before the merger, row by row."""
        output = network(**merged_input(pixels, config), return_dict=True)
        return self.in_rows(output.last_hidden_state, pixels, config)

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Merge each group of patches."""
        return merge(features, model.get_submodule("visual.merger"), config)

    def in_rows(self, states: Tensor, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Reorder patches ``[b*h*w, c]`` from the tower's order to row by row, ``[b, h*w, c]``."""
        vision = config.vision_config
        merge = vision.spatial_merge_size
        height, width = (side // (vision.patch_size * merge) for side in pixels.shape[2:])
        groups = states.reshape(len(pixels), height * width, merge, merge, -1)
        rows = groups[:, self.order(height, width, config).to(states.device)]
        return rows.reshape(len(pixels), height, width, merge, merge, -1).transpose(2, 3).flatten(1, 4)

    def order(self, height: int, width: int, config: Any) -> Tensor:  # noqa: ANN401
        """Return the index of each group in the tower's order, for groups counted row by row, long ``[groups]``."""
        return torch.arange(height * width)


class WindowedTower(MergedTower):
    """The tower of Qwen2.5-VL, whose groups are ordered window by window (arXiv 2502.13923, section 2.1.1)."""

    def order(self, height: int, width: int, config: Any) -> Tensor:  # noqa: ANN401
        """Return the index of each group, counting windows row by row and the groups of a window row by row."""
        vision = config.vision_config
        side = vision.window_size // vision.spatial_merge_size // vision.patch_size
        cells = [(row // side, column // side, row, column) for row in range(height) for column in range(width)]
        places = sorted(range(len(cells)), key=cells.__getitem__)
        return torch.tensor(places).argsort()


class StackedTower(MergedTower):
    """The tower of Qwen3-VL, of which several layers are read (DeepStack, arXiv 2406.04334).

    Their channels are concatenated: the last layer, then those whose groups are added to the hidden states after the
    first, the second and further language layers. The vectors of an image token are concatenated too.
    """

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the width of all layers that are read."""
        return super().channels(config) * (1 + len(config.vision_config.deepstack_visual_indexes))

    def vectors(self, model: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the concatenated outputs of the tower's own mergers."""
        output = self.network(model)(**merged_input(pixels, config), return_dict=True)
        joined = torch.cat([output.pooler_output, *output.deepstack_features], -1)
        return joined.reshape(len(pixels), -1, joined.shape[1])

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the last layer before the merger, then the others, row by row."""
        # the first hidden state is the input of the first layer
        deep = [layer + 1 for layer in config.vision_config.deepstack_visual_indexes]
        output = network(**merged_input(pixels, config), output_hidden_states=True, return_dict=True)
        states = [output.last_hidden_state, *(output.hidden_states[layer] for layer in deep)]
        return torch.cat([self.in_rows(state, pixels, config) for state in states], -1)

    def project(self, model: Any, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Merge the groups of each layer with the layer's own merger."""
        mergers = [model.visual.merger, *model.visual.deepstack_merger_list]
        parts = features.chunk(len(mergers), 1)
        merged = [merge(part, merger, config) for part, merger in zip(parts, mergers, strict=True)]
        return torch.cat(merged, -1)


def merge(features: Tensor, merger: nn.Module, config: Any) -> Tensor:  # noqa: ANN401
    """Merge the groups of maps ``[b, c, h, w]`` into image tokens ``[b, i, d]``."""
    groups = grouped(features, config)
    merged: Tensor = merger(groups.flatten(0, 2))
    return merged.reshape(len(features), groups.shape[1], -1)


def merged_input(pixels: Tensor, config: Any) -> dict[str, Tensor]:  # noqa: ANN401
    """Cut images into patches, ordered by the token that they become, as Qwen2-VL's processor does."""
    vision = config.vision_config
    patch, merge = vision.patch_size, vision.spatial_merge_size
    count, (height, width) = len(pixels), (side // patch for side in pixels.shape[2:])
    frames = pixels[:, None].expand(-1, vision.temporal_patch_size, -1, -1, -1)
    # [b, time, channel, row of tokens, row in a token, pixel, column of tokens, column in a token, pixel]
    cut = frames.unflatten(4, (width // merge, merge, patch)).unflatten(3, (height // merge, merge, patch))
    flat = cut.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).flatten(5).flatten(0, 4)
    return {"hidden_states": flat, "grid_thw": torch.tensor([[1, height, width]] * count, device=pixels.device)}


def grouped(features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
    """Group the patches of maps ``[b, c, h, w]`` by image token, ``[b, i, m*m, c]``."""
    merge = config.vision_config.spatial_merge_size
    height, width = (side // merge for side in features.shape[2:])
    cells = features.reshape(*features.shape[:2], height, merge, width, merge)
    return cells.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)
