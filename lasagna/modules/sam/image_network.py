"""SAM's image encoder: a vision transformer with windows, in plain torch and under the original's names.

Notation: b: images; h, w: cells; d: width of the transformer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lasagna.modules.sam.attention import RelativeAttention, from_windows, to_windows
from lasagna.modules.sam.layers import ChannelNorm, TwoLayers
from lasagna.modules.sam.sizes import SamSize


class ImageNetwork(nn.Module):
    """Patches, blocks and a neck (arXiv 2304.02643, appendix A; arXiv 2203.16527).

    Args:
        size: Its sizes.
        recompute: Whether training keeps the blocks' inputs alone and computes the rest again going backward.
    """

    def __init__(self, size: SamSize, recompute: bool = False) -> None:
        super().__init__()
        self.recompute = recompute
        self.patch_embed = _Patches(size)
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, size.grid, size.grid, size.embed_dim))
        self.blocks = nn.ModuleList([_Block(size, block in size.global_blocks) for block in range(size.depth)])
        self.neck = nn.Sequential(
            nn.Conv2d(size.embed_dim, size.out_channels, 1, bias=False),
            ChannelNorm(size.out_channels),
            nn.Conv2d(size.out_channels, size.out_channels, 3, padding=1, bias=False),
            ChannelNorm(size.out_channels),
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


class _Patches(nn.Module):
    def __init__(self, size: SamSize) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, size.embed_dim, size.patch, stride=size.patch)

    def forward(self, pixels: Tensor) -> Tensor:
        cells: Tensor = self.proj(pixels)
        return cells.permute(0, 2, 3, 1)


class _Block(nn.Module):
    def __init__(self, size: SamSize, whole: bool) -> None:
        super().__init__()
        self.window = None if whole else size.window
        self.norm1 = nn.LayerNorm(size.embed_dim, eps=1e-6)
        self.attn = RelativeAttention(size.embed_dim, size.heads, size.grid if whole else size.window)
        self.norm2 = nn.LayerNorm(size.embed_dim, eps=1e-6)
        self.mlp = TwoLayers(size.embed_dim, size.mlp_dim, nn.functional.gelu)

    def forward(self, cells: Tensor) -> Tensor:
        cells = cells + self._attend(self.norm1(cells))
        changed: Tensor = cells + self.mlp(self.norm2(cells))
        return changed

    def _attend(self, cells: Tensor) -> Tensor:
        if self.window is None:
            whole: Tensor = self.attn(cells)
            return whole
        windows = self.attn(to_windows(cells, self.window))
        return from_windows(windows, (cells.shape[1], cells.shape[2]))
