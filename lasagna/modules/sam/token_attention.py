"""Attention between a handful of tokens and the many cells of a map.

Notation: n: prompts; t: tokens of a prompt; p: cells of the map; d: width; h: heads; c: width of a head; m: 1 where
the cells are the same for all prompts, else n.
"""

from __future__ import annotations

from torch import Tensor, nn

from lasagna.modules.sam.cell_attention import read_cells, write_cells


class Attention(nn.Module):
    """Multi-head attention of tokens to each other, of tokens to cells, and of cells to tokens.

    Between tokens and cells no cell is projected: as a score is a product of three, token, weights and cell, the few
    tokens are taken through the weights of both projections instead, into one vector a head that meets the cells as
    they are; the same holds for what is read from the cells or written into them. That is the same up to rounding, and
    all that grows with the map are two matrix products of ``h * t`` columns.

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
        """Let tokens ``[n, t, d]`` see each other; same shape."""
        projected = self.q_proj(queries), self.k_proj(keys), self.v_proj(values)
        own, others, told = (self._split(part) for part in projected)
        # written out, since torch's fused kernel goes backward slowly on CPUs for narrow heads
        weights = (own * own.shape[3] ** -0.5 @ others.transpose(2, 3)).softmax(3)
        seen = weights @ told
        joined: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return joined

    def of_image(self, tokens: Tensor, cells: Tensor, positions: Tensor) -> Tensor:
        """Let tokens ``[n, t, d]`` see cells ``[m, p, d]`` at positions ``[p, d]``; the shape of the tokens."""
        seen = read_cells(*self._probes(self.q_proj(tokens), self.k_proj), cells, positions)
        by_head = seen.unflatten(1, (self.heads, -1))  # [n, h, t, d]
        # the weights of a head sum up to one, so that the bias may come after them
        own = by_head @ self._by_head(self.v_proj.weight).transpose(1, 2) + self._by_head(self.v_proj.bias)[:, None]
        joined: Tensor = self.out_proj(own.transpose(1, 2).flatten(2))
        return joined

    def to_image(self, keys: Tensor, values: Tensor, cells: Tensor, positions: Tensor) -> Tensor:
        """Add to cells ``[m, p, d]`` at positions ``[p, d]`` what they see of tokens ``[n, t, d]``, ``[n, p, d]``."""
        written = self._split(self.v_proj(values)) @ self._by_head(self.out_proj.weight.T)  # [n, h, t, d]
        written = written + self.out_proj.bias / self.heads  # the weights of all heads sum up to their number
        probes = self._probes(self.k_proj(keys), self.q_proj)
        return write_cells(*probes, written.flatten(1, 2), cells, positions, self.heads)

    def _probes(self, tokens: Tensor, cells: nn.Linear) -> tuple[Tensor, Tensor]:
        """Turn projected tokens into what meets cells before their projection, ``[n, h*t, d]``, and a bias."""
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
