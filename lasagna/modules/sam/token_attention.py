"""Attention between a handful of tokens and the many cells of a map.

Notation: n: prompts; t: tokens of a prompt; p: cells of the map; d: width; h: heads; c: width of a head; m: 1 where
the cells are the same for all prompts, else n.
"""

from __future__ import annotations

from torch import Tensor, nn


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

    def of_image(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Let tokens ``[n, t, d]`` see cells, keys and values ``[m, p, d]``; the shape of the tokens."""
        probes = self._probes(self._split(self.q_proj(queries)), self.k_proj)
        weights = self._scores(*probes, keys).softmax(3)  # [n, h, t, p]
        seen = (weights.flatten(1, 2) @ values).unflatten(1, weights.shape[1:3])  # [n, h, t, d]
        # the weights of a head sum up to one, so that the bias may come after them
        own = seen @ self._by_head(self.v_proj.weight).transpose(1, 2) + self._by_head(self.v_proj.bias)[:, None]
        joined: Tensor = self.out_proj(own.transpose(1, 2).flatten(2))
        return joined

    def to_image(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Let cells ``[m, p, d]`` see tokens, keys and values ``[n, t, d]``; what each prompt's see, ``[n, p, d]``."""
        probes = self._probes(self._split(self.k_proj(keys)), self.q_proj)
        weights = self._scores(*probes, queries).softmax(2)  # [n, h, t, p]
        written = self._split(self.v_proj(values)) @ self._by_head(self.out_proj.weight.T)  # [n, h, t, d]
        written = written + self.out_proj.bias / self.heads  # the weights of all heads sum up to their number
        seen: Tensor = weights.flatten(1, 2).transpose(1, 2) @ written.flatten(1, 2)
        return seen

    def _probes(self, tokens: Tensor, cells: nn.Linear) -> tuple[Tensor, Tensor]:
        """Turn projected tokens ``[n, h, t, c]`` into what meets cells as they are, ``[n, h, t, d]``, and a bias."""
        scaled = tokens * tokens.shape[3] ** -0.5
        return scaled @ self._by_head(cells.weight), scaled @ self._by_head(cells.bias)[..., None]

    def _scores(self, probes: Tensor, bias: Tensor, cells: Tensor) -> Tensor:
        shared = len(cells) == 1  # one product for all prompts
        meets = probes.flatten(1, 2) @ (cells[0].T if shared else cells.transpose(1, 2))
        scores: Tensor = meets.unflatten(1, probes.shape[1:3]) + bias  # [n, h, t, p]
        return scores

    def _by_head(self, weights: Tensor) -> Tensor:
        by_head: Tensor = weights.unflatten(0, (self.heads, -1))
        return by_head

    def _split(self, tokens: Tensor) -> Tensor:
        by_head: Tensor = tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # [n, h, t, c]
        return by_head
