"""Attention of SAM's image encoder: cells see each other with a bias for their distance along each axis.

Notation: b: images or windows; s: cells along a side; n: heads; d: width; c: width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BAND = 4
"""Rows of cells whose queries are answered at once."""


class RelativeAttention(nn.Module):
    """Multi-head attention over a square of cells with decomposed relative positions (arXiv 2112.01526, section 4).

    Args:
        width: Width of a cell.
        heads: Number of heads.
        side: Cells along a side.
    """

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.side = side
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, cells: Tensor) -> Tensor:
        """Let cells ``[b, s, s, d]`` see each other; same shape."""
        queries, keys, values = self.qkv(cells).flatten(1, 2).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        placed = queries.unflatten(2, (self.side, self.side))  # [b, n, s, s, c]
        down = torch.einsum("bnyxc,yic->bnyxi", placed, self._steps(self.rel_pos_h)).contiguous()
        across = torch.einsum("bnyxc,xjc->bnyxj", placed, self._steps(self.rel_pos_w)).contiguous()
        # a band of rows at a time: the bias of all pairs of cells would be the largest tensor of the whole encoder
        bands = zip(placed.split(BAND, 2), down.split(BAND, 2), across.split(BAND, 2), strict=True)
        seen = torch.cat([_attend(band, keys, values, *biases) for band, *biases in bands], 2)  # [b, n, s*s, c]
        joined: Tensor = self.proj(seen.transpose(1, 2).reshape(cells.shape))
        return joined

    def _steps(self, table: Tensor) -> Tensor:
        """Return what a table says of each pair of places along an axis, ``[s, s, c]``."""
        steps = torch.arange(self.side, device=table.device)
        return table[steps[:, None] - steps[None, :] + self.side - 1]


def _attend(queries: Tensor, keys: Tensor, values: Tensor, down: Tensor, across: Tensor) -> Tensor:
    bias = (down[..., :, None] + across[..., None, :]).flatten(4, 5).flatten(2, 3)  # [b, n, rows*s, s*s]
    return nn.functional.scaled_dot_product_attention(queries.flatten(2, 3), keys, values, bias)


def to_windows(cells: Tensor, window: int) -> Tensor:
    """Cut cells ``[b, h, w, d]`` into windows ``[b * windows, window, window, d]``, zeros at the right and bottom."""
    height, width = cells.shape[1:3]
    cells = nn.functional.pad(cells, (0, 0, 0, -width % window, 0, -height % window))
    # [b, down, window, across, window, d]
    cut: Tensor = cells.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return cut.transpose(2, 3).flatten(0, 2)


def from_windows(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Put windows together again, as cells ``[b, h, w, d]`` of some height and width."""
    window = windows.shape[1]
    down, across = (-(-side // window) for side in size)
    cells: Tensor = windows.unflatten(0, (-1, down, across)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return cells[:, : size[0], : size[1]]
