"""SAM's image encoder: a vision transformer with windows, in plain torch and with the original's names.

Notation: b: images; h, w: cells; d: width of the transformer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lasagna.modules.sam.layers import LayerNorm2d, MLPBlock
from lasagna.modules.sam.sizes import SamSize

BAND = 4
"""Rows of cells whose queries are processed at once."""


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
        """Let cells ``[b, s, s, d]`` attend to each other; the output has the same shape."""
        queries, keys, values = self.qkv(cells).flatten(1, 2).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        placed = queries.unflatten(2, (self.side, self.side))  # [b, n, s, s, c]
        down = torch.einsum("bnyxc,yic->bnyxi", placed, self._steps(self.rel_pos_h)).contiguous()
        across = torch.einsum("bnyxc,xjc->bnyxj", placed, self._steps(self.rel_pos_w)).contiguous()
        # a band of rows at a time, since the bias of all pairs of cells would be the largest tensor of the encoder
        bands = zip(placed.split(BAND, 2), down.split(BAND, 2), across.split(BAND, 2), strict=True)
        seen = torch.cat([_attend(band, keys, values, *biases) for band, *biases in bands], 2)  # [b, n, s*s, c]
        joined: Tensor = self.proj(seen.transpose(1, 2).reshape(cells.shape))
        return joined

    def _steps(self, table: Tensor) -> Tensor:
        """Look up the entry of each pair of positions along an axis, ``[s, s, c]``."""
        steps = torch.arange(self.side, device=table.device)
        return table[steps[:, None] - steps[None, :] + self.side - 1]


def _attend(queries: Tensor, keys: Tensor, values: Tensor, down: Tensor, across: Tensor) -> Tensor:
    bias = (down[..., :, None] + across[..., None, :]).flatten(4, 5).flatten(2, 3)  # [b, n, rows*s, s*s]
    return nn.functional.scaled_dot_product_attention(queries.flatten(2, 3), keys, values, bias)


def window_partition(cells: Tensor, window: int) -> Tensor:
    """Cut cells ``[b, h, w, d]`` into windows ``[b * windows, window, window, d]``, zero-padded at right and bottom."""
    height, width = cells.shape[1:3]
    cells = nn.functional.pad(cells, (0, 0, 0, -width % window, 0, -height % window))
    # [b, down, window, across, window, d]
    cut: Tensor = cells.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return cut.transpose(2, 3).flatten(0, 2)


def window_unpartition(windows: Tensor, size: tuple[int, int]) -> Tensor:
    """Reassemble windows to cells ``[b, h, w, d]`` of the given height and width."""
    window = windows.shape[1]
    down, across = (-(-side // window) for side in size)
    cells: Tensor = windows.unflatten(0, (-1, down, across)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return cells[:, : size[0], : size[1]]


class ImageEncoderViT(nn.Module):
    """Patch embedding, transformer blocks and neck (arXiv 2304.02643, appendix A; arXiv 2203.16527).

    Args:
        size: Sizes of the encoder.
        recompute: Whether training keeps only the inputs of the blocks and recomputes the rest in the backward pass.
    """

    def __init__(self, size: SamSize, recompute: bool = False) -> None:
        super().__init__()
        self.recompute = recompute
        self.patch_embed = _PatchEmbed(size)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, size.grid, size.grid, size.embed_dim))
        self.blocks = nn.ModuleList([_Block(size, block in size.global_blocks) for block in range(size.depth)])
        self.neck = nn.Sequential(
            nn.Conv2d(size.embed_dim, size.out_channels, 1, bias=False),
            LayerNorm2d(size.out_channels),
            nn.Conv2d(size.out_channels, size.out_channels, 3, padding=1, bias=False),
            LayerNorm2d(size.out_channels),
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode images ``[b, 3, H, W]`` into a map ``[b, c, h, w]``."""
        cells: Tensor = self.patch_embed(pixels) + self.pos_embed  # [b, h, w, d]
        for block in self.blocks:
            if self.recompute and torch.is_grad_enabled():
                cells = checkpoint(block, cells, use_reentrant=False)
            else:
                cells = block(cells)
        features: Tensor = self.neck(cells.permute(0, 3, 1, 2))
        return features


class _PatchEmbed(nn.Module):
    def __init__(self, size: SamSize) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, size.embed_dim, size.patch, stride=size.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        cells: Tensor = self.proj(pixels)
        return cells.permute(0, 2, 3, 1)


class _Block(nn.Module):
    def __init__(self, size: SamSize, is_global: bool) -> None:
        super().__init__()
        self.window = None if is_global else size.window
        self.norm1 = nn.LayerNorm(size.embed_dim, eps=1e-6)
        self.attn = RelativeAttention(size.embed_dim, size.heads, size.grid if is_global else size.window)
        self.norm2 = nn.LayerNorm(size.embed_dim, eps=1e-6)
        self.mlp = MLPBlock(size.embed_dim, size.mlp_dim, nn.functional.gelu)

    def forward(self, cells: Tensor) -> Tensor:
        attended = self.norm1(cells)
        if self.window is None:
            attended = self.attn(attended)
        else:
            windows = self.attn(window_partition(attended, self.window))
            attended = window_unpartition(windows, (cells.shape[1], cells.shape[2]))
        cells = cells + attended
        transformed: Tensor = cells + self.mlp(self.norm2(cells))
        return transformed
