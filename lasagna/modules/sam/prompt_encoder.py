"""SAM's prompt encoder; text prompts use only its positions and its embedding of "no mask given".

Notation: b: images; h, w: cells of the main map; d: width of a prompt.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lasagna.modules.sam.layers import LayerNorm2d
from lasagna.modules.sam.sizes import SamHeadSize


class DensePromptEncoder(nn.Module):
    """The part of SAM's and SAM 2's prompt encoders that applies without points, boxes and masks.

    Args:
        width: Width of a prompt.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pe_layer = PositionEmbeddingRandom(width)
        self.no_mask_embed = nn.Embedding(1, width)

    def forward(self, features: Tensor) -> Tensor:
        """Add the embedding of "no mask given" to maps ``[b, d, h, w]``."""
        return features + self.no_mask_embed.weight.to(features)[0, :, None, None]

    def positions(self, height: int, width: int) -> Tensor:
        """Return the position of each cell of a map, float ``[h*w, d]``."""
        waves: Tensor = self.pe_layer(height, width)
        return waves


class PromptEncoder(DensePromptEncoder):
    """SAM's prompt encoder; parameters for points, boxes and masks exist only for the names in the state dict.

    Args:
        size: Sizes of the mask head.
    """

    def __init__(self, size: SamHeadSize) -> None:
        width, narrow = size.prompt_dim, size.mask_channels
        super().__init__(width)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, narrow // 4, 2, stride=2),
            LayerNorm2d(narrow // 4),
            nn.GELU(),
            nn.Conv2d(narrow // 4, narrow, 2, stride=2),
            LayerNorm2d(narrow),
            nn.GELU(),
            nn.Conv2d(narrow, width, 1),
        )


class PositionEmbeddingRandom(nn.Module):
    """Positions as sines and cosines of random frequencies (arXiv 2006.10739), which are a buffer.

    Matrix products are avoided, because autocast would round the angles to half precision, which is far too coarse.

    Args:
        width: Width of a position.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Return the position of each cell of a map, float ``[h*w, d]``."""
        across, down = self.positional_encoding_gaussian_matrix.float()
        rows = 2 * (torch.arange(height, device=down.device) + 0.5) / height - 1
        columns = 2 * (torch.arange(width, device=down.device) + 0.5) / width - 1
        angles = 2 * math.pi * (rows[:, None, None] * down + columns[None, :, None] * across)  # [h, w, d/2]
        return torch.cat([angles.sin(), angles.cos()], -1).flatten(0, 1)
