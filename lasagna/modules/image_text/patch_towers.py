"""Towers that take an image as a list of patches.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height and width of the map; p: pixels
along a side of a patch; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lasagna.modules.image_text.towers import FinalTower, TowerReading, patch_side

POOLED = 2
"""Patches along a side of an image token of Molmo 2, which only its processor states."""


class FlexibleTower(FinalTower):
    """The tower of LFM2-VL, a SigLIP 2 for images of any size, whose projector joins groups of patches."""

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the last layer after the final norm."""
        patches, (height, width) = cut(pixels, patch_side(config))
        output = network(
            pixel_values=patches,
            spatial_shapes=torch.tensor([[height, width]] * len(pixels), device=pixels.device),
            pixel_attention_mask=torch.ones(patches.shape[:2], dtype=torch.int32, device=pixels.device),
            return_dict=True,
        )
        last: Tensor = output.last_hidden_state
        return last

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Join and project."""
        vectors: Tensor = model.get_submodule("multi_modal_projector")(features.permute(0, 2, 3, 1))
        return vectors.flatten(1, 2)


class PooledTower(TowerReading):
    """The tower of Molmo 2, of which several layers are read and groups of patches are pooled by attention.

    An image is shown twice, as small images are by its processor: as a whole, and as its only part. Each view has a
    token at its start, at the end of each row, and at its end.
    """

    def network(self, model: nn.Module) -> nn.Module:
        """Return the tower."""
        return model.get_submodule("vision_tower")

    def channels(self, config: Any) -> int:  # noqa: ANN401
        """Return the total channels of the layers that are read."""
        return len(config.adapter_config.vision_feature_layer) * super().channels(config)

    def cache_key(self, config: Any) -> str:  # noqa: ANN401
        """Return what the map depends on besides weights and pixels."""
        return f"{super().cache_key(config)} {config.adapter_config.vision_feature_layer}"

    def patches(self, network: nn.Module, pixels: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Return the layers that are read, their channels side by side."""
        patches, _ = cut(pixels, patch_side(config))
        states = network(patches, output_hidden_states=True, return_dict=True).hidden_states
        layers = config.adapter_config.vision_feature_layer
        # the first hidden state is the input of the first layer
        return torch.cat([states[layer + 1 if layer >= 0 else layer] for layer in layers], -1)

    def project(self, model: nn.Module, features: Tensor, config: Any) -> Tensor:  # noqa: ANN401
        """Pool and project, and add the embeddings of the tokens that make up both views."""
        count, _, height, width = features.shape
        groups = pooled(height, width, features.device)
        every = torch.arange(count, device=features.device)[:, None, None] * (height * width)
        places = torch.where(groups < 0, groups, groups + every)
        patches = features.flatten(2).transpose(1, 2)
        vectors = model.get_submodule("multi_modal_projector")(patches, places.flatten(0, 1)).last_hidden_state
        views = vectors.reshape(count, -1, vectors.shape[1]).repeat(1, 2, 1)
        tokens = torch.tensor(view_tokens(config, -(-width // POOLED)), device=features.device)
        embedded = model.get_submodule("language_model.embed_tokens")(tokens).expand(count, -1, -1)
        shown = (tokens == config.image_token_id).nonzero()[:, 0]
        joined: Tensor = embedded.index_add(1, shown, views.to(embedded.dtype))
        return joined


def pooled(height: int, width: int, device: torch.device) -> Tensor:
    """Return the patches of each image token, row by row, long ``[i, 4]``, with -1 where a group is not full."""
    patches = torch.arange(height * width, device=device).reshape(height, width)
    full = nn.functional.pad(patches, (0, -width % POOLED, 0, -height % POOLED), value=-1)
    rows, columns = (side // POOLED for side in full.shape)
    cells = full.reshape(rows, POOLED, columns, POOLED)
    return cells.transpose(1, 2).flatten(2).flatten(0, 1)


def view_tokens(config: Any, grid: int) -> list[int]:  # noqa: ANN401
    """Return the tokens that stand for an image in Molmo 2's own prompts.

    Args:
        config: The model's config.
        grid: Image tokens along a side.
    """
    # released configs name the end of a row, and transformers' own does not
    column = getattr(config, "image_col_id", config.image_token_id + 1)
    rows = ([config.image_token_id] * grid + [column]) * grid
    end = config.image_end_token_id
    return [config.low_res_image_start_token_id, *rows, end, config.image_start_token_id, *rows, end]


def cut(pixels: Tensor, side: int) -> tuple[Tensor, tuple[int, int]]:
    """Cut images into patches, row by row.

    Args:
        pixels: Float ``[b, 3, H, W]``.
        side: Side of a patch in pixels.

    Returns:
        The patches, float ``[b, h*w, p*p*3]`` with the colours of a pixel side by side, and their rows and columns.
    """
    height, width = (length // side for length in pixels.shape[2:])
    cells = pixels.unflatten(3, (width, side)).unflatten(2, (height, side))
    return cells.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2), (height, width)
