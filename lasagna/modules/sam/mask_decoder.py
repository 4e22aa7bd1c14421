"""SAM's mask decoder, restricted to one mask per prompt.

Notation: n: prompts; k: vectors of a prompt; p: cells of the map; d: width; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lasagna.modules.sam.cell_attention import double, draw, read_cells, write_cells
from lasagna.modules.sam.layers import MLP, LayerNorm2d, MLPBlock
from lasagna.modules.sam.sizes import SamHeadSize


class Attention(nn.Module):
    """Multi-head attention among tokens, from tokens to cells, and from cells to tokens.

    Between tokens and cells, the cells are never projected. A score is the product of token, weights and cell, so the
    few tokens are multiplied by the weights of both projections, which gives one vector per head that is multiplied by
    the unprojected cells. The same is done for the values that are read from cells or added to them. The result is the
    same up to rounding, and the cost that grows with the map is two matrix products of ``h * t`` columns.

    Args:
        width: Width of tokens and cells.
        heads: Number of heads.
        inner: Width of all heads together.
    """

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Let tokens ``[n, t, d]`` attend to each other; the output has the same shape."""
        projected = self.q_proj(queries), self.k_proj(keys), self.v_proj(values)
        by_head = [self._split(part) for part in projected]
        # written out, since the backward pass of torch's fused kernel is slow on CPUs for narrow heads
        weights = (by_head[0] * by_head[0].shape[3] ** -0.5 @ by_head[1].transpose(2, 3)).softmax(3)
        seen = weights @ by_head[2]
        joined: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return joined

    def of_image(self, tokens: Tensor, cells: Tensor, positions: Tensor) -> Tensor:
        """Let tokens ``[n, t, d]`` attend to cells ``[m, p, d]`` at positions ``[p, d]``; returns ``[n, t, d]``."""
        seen = read_cells(*self._probes(self.q_proj(tokens), self.k_proj), cells, positions)
        by_head = seen.unflatten(1, (self.heads, -1))  # [n, h, t, d]
        # the attention weights of a head sum to one, so that the bias can be added afterwards
        own = by_head @ self._by_head(self.v_proj.weight).transpose(1, 2) + self._by_head(self.v_proj.bias)[:, None]
        joined: Tensor = self.out_proj(own.transpose(1, 2).flatten(2))
        return joined

    def to_image(self, keys: Tensor, values: Tensor, cells: Tensor, positions: Tensor) -> Tensor:
        """Let cells ``[m, p, d]`` at positions ``[p, d]`` attend to tokens ``[n, t, d]``: the sums, ``[n, p, d]``."""
        written = self._split(self.v_proj(values)) @ self._by_head(self.out_proj.weight.T)  # [n, h, t, d]
        written = written + self.out_proj.bias / self.heads  # the attention weights of all heads sum to their number
        probes = self._probes(self.k_proj(keys), self.q_proj)
        return write_cells(*probes, written.flatten(1, 2), cells, positions, self.heads)

    def _probes(self, tokens: Tensor, cells: nn.Linear) -> tuple[Tensor, Tensor]:
        """Turn projected tokens into factors of the unprojected cells, ``[n, h*t, d]``, and a bias."""
        by_head = self._split(tokens)
        scaled = by_head * by_head.shape[3] ** -0.5
        probes, bias = scaled @ self._by_head(cells.weight), scaled @ self._by_head(cells.bias)[..., None]
        return probes.flatten(1, 2), bias.flatten(1, 2)

    def _by_head(self, weights: Tensor) -> Tensor:
        by_head: Tensor = weights.unflatten(0, (self.heads, -1))
        return by_head

    def _split(self, tokens: Tensor) -> Tensor:
        by_head: Tensor = tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [n, h, t, c]
        return by_head


class TwoWayTransformer(nn.Module):
    """Two-way blocks and a final attention from tokens to image (arXiv 2304.02643, appendix A).

    Args:
        size: Sizes of the mask head.
    """

    def __init__(self, size: SamHeadSize) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_TwoWayAttentionBlock(size, first=step == 0) for step in range(size.depth)])
        self.final_attn_token_to_image = Attention(size.prompt_dim, size.heads, size.prompt_dim // 2)
        self.norm_final_attn = nn.LayerNorm(size.prompt_dim)

    def forward(self, tokens: Tensor, cells: Tensor, positions: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
        """Let tokens and cells attend to each other.

        Args:
            tokens: Float ``[n, t, d]``.
            cells: The image, the same for all prompts, float ``[1, p, d]``.
            positions: Positions of the cells, float ``[p, d]``.
            wanted: Index of the only token of a prompt that is read afterwards.

        Returns:
            That token ``[n, d]``, and the cells of each prompt ``[n, p, d]``.
        """
        first = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, cells, first, positions)
        tokens, first = (all_of[:, wanted : wanted + 1] for all_of in (tokens, first))
        seen = self.final_attn_token_to_image.of_image(tokens + first, cells, positions)
        return self.norm_final_attn(tokens + seen)[:, 0], cells


class _TwoWayAttentionBlock(nn.Module):
    def __init__(self, size: SamHeadSize, first: bool) -> None:
        super().__init__()
        width, heads = size.prompt_dim, size.heads
        self.first = first
        self.self_attn = Attention(width, heads, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLPBlock(width, size.mlp_dim, nn.functional.relu)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, width // 2)

    def forward(self, tokens: Tensor, cells: Tensor, start: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:  # the tokens still equal their positions
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            placed = tokens + start
            tokens = self.norm1(tokens + self.self_attn(placed, placed, tokens))
        tokens = self.norm2(tokens + self.cross_attn_token_to_image.of_image(tokens + start, cells, positions))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self.norm4(self.cross_attn_image_to_token.to_image(tokens + start, tokens, cells, positions))


class MaskDecoder(nn.Module):
    """Two-way transformer, upscaling, and a mask token that weights the channels (arXiv 2304.02643, appendix A).

    SAM and SAM 2 share it; that of SAM 2 adds finer maps (arXiv 2408.00714, appendix D).

    Args:
        size: Sizes of the mask decoder.
        recompute: Whether the backward pass recomputes the two-way transformer, to save memory; it always recomputes
            the upscaling.
    """

    def __init__(self, size: SamHeadSize, recompute: bool = False) -> None:
        super().__init__()
        width = size.prompt_dim
        self.recompute = recompute
        self.transformer = TwoWayTransformer(size)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(size.masks, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList([MLP(width, width, width // 8, 3)])

    @property
    def tokens_before(self) -> tuple[nn.Embedding, ...]:
        """Tokens that precede the mask tokens; they matter because all tokens attend to each other."""
        return (self.iou_token,)

    def forward(self, image: Tensor, positions: Tensor, prompts: Tensor, finer: Sequence[Tensor] = ()) -> Tensor:
        """Draw one mask for each prompt of one image.

        Args:
            image: The image's main map, float ``[d, h, w]``.
            positions: Positions of its cells, float ``[p, d]``.
            prompts: Vectors of each prompt, float ``[n, k, d]``.
            finer: No maps, or two finer ones in the layout of doubled cells, float ``[p, 4, d/4]`` and
                ``[p, 4, 4, d/8]``.

        Returns:
            Mask logits, float ``[n, 4h, 4w]``.
        """
        before = torch.cat([token.weight for token in self.tokens_before])
        own = torch.cat([before, self.mask_tokens.weight]).to(prompts)
        tokens = torch.cat([own.expand(prompts.shape[0], -1, -1), prompts], 1)  # [n, t, d]
        arguments = (tokens, image.flatten(1).T[None], positions, len(before))
        if self.recompute and torch.is_grad_enabled():
            token, cells = checkpoint(self.transformer, *arguments, use_reentrant=False)
        else:
            token, cells = self.transformer(*arguments)
        weights = self.output_hypernetworks_mlps[0](token)
        return draw(lambda some: self._refine(some, finer), cells, weights, *image.shape[1:])

    def _refine(self, cells: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """Double the map twice, ``[n, p, d]`` to ``[n, p, 4, 4, d/8]``, and add a finer map, if any, each time."""
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, LayerNorm2d)
        assert isinstance(second, nn.ConvTranspose2d)
        once = double(cells, first)
        once = nn.functional.gelu(norm.last(once + finer[0] if finer else once))
        twice = double(once, second)
        return nn.functional.gelu(twice + finer[1] if finer else twice)


class SamMaskDecoder(MaskDecoder):
    """SAM's mask decoder.

    The predictor of mask quality and the layers of the second and later masks exist only so that the state dict has the
    original's names; they are neither computed nor trained.

    Args:
        size: Sizes of the mask decoder.
        recompute: See ``MaskDecoder``.
    """

    def __init__(self, size: SamHeadSize, recompute: bool = False) -> None:
        super().__init__(size, recompute)
        width = size.prompt_dim
        others = [MLP(width, width, width // 8, 3).requires_grad_(False) for _ in range(size.masks - 1)]
        self.output_hypernetworks_mlps.extend(others)
        self.iou_prediction_head = MLP(width, size.iou_dim, size.masks, size.iou_depth).requires_grad_(False)
