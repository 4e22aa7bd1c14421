"""The projector from feature maps to the vectors that a language model reads.

Notation: b: images; c: channels; i: image tokens, the cells of a grid read row by row; d: hidden size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lasagna.errors import ConfigError

WAVES = 6
"""Frequencies of a position along an axis, each twice the one before."""


def check_grid(image_grid: tuple[int, int], max_length: int) -> None:
    """Check that an image has at least one token and leaves room for text.

    Args:
        image_grid: Rows and columns of image tokens.
        max_length: Longest row of tokens, the image's included.

    Raises:
        ConfigError: If the grid is empty, or fills the longest row.
    """
    if min(image_grid) < 1:
        raise ConfigError(f"image_grid: expected at least one row and one column, got {tuple(image_grid)}")
    if max_length <= image_grid[0] * image_grid[1]:
        raise ConfigError(f"max_length: {max_length} leaves no room beside the image's {image_grid} tokens; take more")


class ImageProjector(nn.Module):
    """Pools a map to a grid, projects each cell, and adds embeddings of "image" and of the cell's position.

    Args:
        channels: Channels of the map.
        hidden_size: Width of the language model.
        grid: Rows and columns of cells, one image token each.
    """

    def __init__(self, channels: int, hidden_size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.layers = nn.Sequential(
            nn.Linear(2 * channels, 2 * hidden_size), nn.GELU(), nn.Linear(2 * hidden_size, hidden_size)
        )
        self.kind = nn.Parameter(0.1 * torch.randn(hidden_size))
        self.position = nn.Linear(4 * WAVES, hidden_size)

    def forward(self, features: Tensor) -> Tensor:
        """Turn a map ``[b, c, h, w]`` into image vectors ``[b, i, d]``."""
        return self.place(self.content(features))

    def content(self, features: Tensor) -> Tensor:
        """Pool and project a map ``[b, c, h, w]`` to ``[b, i, d]``."""
        mean = nn.functional.adaptive_avg_pool2d(features, self.grid)
        largest: Tensor = nn.functional.adaptive_max_pool2d(features, self.grid)
        content: Tensor = self.layers(torch.cat([mean, largest], 1).flatten(2).transpose(1, 2))
        return content

    def place(self, content: Tensor) -> Tensor:
        """Add the embeddings of "image" and of the cells' positions to ``[b, i, d]``."""
        position: Tensor = self.position(grid_waves(self.grid).to(content))
        return content + self.kind + position


def grid_waves(grid: tuple[int, int]) -> Tensor:
    """Return sines and cosines of the cells' relative positions at doubling frequencies, ``[i, 4 * WAVES]``."""
    rows = (torch.arange(grid[0]) + 0.5) / grid[0]
    columns = (torch.arange(grid[1]) + 0.5) / grid[1]
    places = torch.cartesian_prod(rows, columns)  # [i, 2]
    angles = places[:, :, None] * math.pi * 2.0 ** torch.arange(WAVES)  # [i, 2, WAVES]
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
