"""Towers that take an image as a list of patches.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height and width of the map; p: pixels
along a side of a patch; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lasagna.modules.image_text.towers import FinalTower, patch_side


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
