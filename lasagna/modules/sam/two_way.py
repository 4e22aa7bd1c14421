"""SAM's two-way transformer: tokens look at the image, and the image at the tokens.

The prompts of one call are all about one image, so that what depends on the image alone is computed, and held, once.

Notation: n: prompts; t: tokens of a prompt; p: cells of the map; d: width; m: 1 while the cells are the same for
all prompts, then n.
"""

from __future__ import annotations

from torch import Tensor, nn

from lasagna.modules.sam.layers import TwoLayers
from lasagna.modules.sam.sizes import SamHeadSize


class TwoWayTransformer(nn.Module):
    """Two-way blocks and a last look of the tokens at the image (arXiv 2304.02643, appendix A).

    Args:
        size: Sizes of the mask head.
    """

    def __init__(self, size: SamHeadSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_TwoWayBlock(size, first=step == 0) for step in range(size.depth)])
        self.final_attn_token_to_image = _Attention(size.prompt_dim, size.heads, size.prompt_dim // 2)
        self.norm_final_attn = nn.LayerNorm(size.prompt_dim)

    def forward(self, tokens: Tensor, cells: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Let tokens and cells look at each other.

        Args:
            tokens: Float ``[n, t, d]``.
            cells: The image, the same for all prompts, float ``[1, p, d]``.
            positions: Positions of the cells, float ``[p, d]``.

        Returns:
            Tokens ``[n, t, d]`` and cells as each prompt sees them ``[n, p, d]``.
        """
        first = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, first, positions)
        seen = self.final_attn_token_to_image(tokens + first, cells + positions, cells)
        return self.norm_final_attn(tokens + seen), cells


class _TwoWayBlock(nn.Module):
    def __init__(self, size: SamHeadSize, first: bool) -> None:
        super().__init__()
        width, heads = size.prompt_dim, size.heads
        self.first = first
        self.self_attn = _Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = _Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TwoLayers(width, size.mlp_dim, nn.functional.relu)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = _Attention(width, heads, width // 2)

    def forward(self, tokens: Tensor, cells: Tensor, start: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:  # the tokens are their own positions still
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + start
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        lit = cells + positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + start, lit, cells))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self.norm4(cells + self.cross_attn_image_to_token(lit, tokens + start, tokens))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        count = max(len(queries), len(keys))
        parts = (self.q_proj(queries), self.k_proj(keys), self.v_proj(values))
        # expanded after the projection, and as a view: what is shared is neither projected nor held twice
        split = (part.unflatten(2, (self.heads, -1)).transpose(1, 2).expand(count, -1, -1, -1) for part in parts)
        out: Tensor = self.out_proj(_look(*split).transpose(1, 2).flatten(2))
        return out


def _look(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    # written out, since torch's fused kernel goes backward slowly on CPUs for narrow heads, and there are few weights:
    # one side is a handful of tokens. The longer side stands last, so that softmax and its way back run along memory
    scale = queries.shape[3] ** -0.5
    if queries.shape[2] > keys.shape[2]:
        weights = (keys * scale @ queries.transpose(2, 3)).softmax(2).transpose(2, 3)  # [n, heads, p, t]
    else:
        weights = (queries * scale @ keys.transpose(2, 3)).softmax(3)  # [n, heads, t, p]
    seen: Tensor = weights @ values
    return seen
