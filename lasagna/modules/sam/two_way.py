"""SAM's two-way transformer: tokens look at the image, and the image at the tokens.

The prompts of one call are all about one image, so that what depends on the image alone is computed, and held, once.

Notation: n: prompts; t: tokens of a prompt; p: cells of the map; d: width; m: 1 while the cells are the same for
all prompts, then n.
"""

from __future__ import annotations

from torch import Tensor, nn

from lasagna.modules.sam.layers import TwoLayers
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam.token_attention import Attention


class TwoWayTransformer(nn.Module):
    """Two-way blocks and a last look of the tokens at the image (arXiv 2304.02643, appendix A).

    Args:
        size: Sizes of the mask head.
    """

    def __init__(self, size: SamHeadSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_TwoWayBlock(size, first=step == 0) for step in range(size.depth)])
        self.final_attn_token_to_image = Attention(size.prompt_dim, size.heads, size.prompt_dim // 2)
        self.norm_final_attn = nn.LayerNorm(size.prompt_dim)

    def forward(self, tokens: Tensor, cells: Tensor, positions: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """Let tokens and cells look at each other.

        Args:
            tokens: Float ``[n, t, d]``.
            cells: The image, the same for all prompts, float ``[1, p, d]``.
            positions: Positions of the cells, float ``[p, d]``.
            wanted: The one token of a prompt that is read afterwards.

        Returns:
            That token ``[n, d]`` and cells as each prompt sees them ``[n, p, d]``.
        """
        first = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, first, positions)
        tokens, first = (all_of[:, wanted : wanted + 1] for all_of in (tokens, first))
        seen = self.final_attn_token_to_image.of_image(tokens + first, cells, positions)
        return self.norm_final_attn(tokens + seen)[:, 0], cells


class _TwoWayBlock(nn.Module):
    def __init__(self, size: SamHeadSize, first: bool) -> None:
        super().__init__()
        width, heads = size.prompt_dim, size.heads
        self.first = first
        self.self_attn = Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TwoLayers(width, size.mlp_dim, nn.functional.relu)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)

    def forward(self, tokens: Tensor, cells: Tensor, start: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:  # the tokens are their own positions still
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + start
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        tokens = self.norm2(tokens + self.cross_attn_token_to_image.of_image(tokens + start, cells, positions))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self.norm4(self.cross_attn_image_to_token.to_image(tokens + start, tokens, cells, positions))
