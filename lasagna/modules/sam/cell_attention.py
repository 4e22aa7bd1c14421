"""Attention between a few vectors and the many cells of a map, with hand-written backward passes.

Plain operators would keep the cells both with and without positions, return gradients in an unfavourable memory layout,
and sum them in several passes over all cells. Here only the attention weights are kept, and the gradient of the cells
comes from a single product.

Notation: n: prompts; k: vectors of a prompt; h: heads; p: cells of the map; d: width; m: 1 where the cells are the same
for all prompts, else n.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint


def read_cells(probes: Tensor, bias: Tensor, cells: Tensor, positions: Tensor) -> Tensor:
    """Let probes attend to cells: the softmax over cells of probe times positioned cell, applied to the cells.

    Args:
        probes: Float ``[n, k, d]``.
        bias: A term that all scores of a probe share, float ``[n, k, 1]``. It does not change the weights and gets a
            gradient of zeros, so that the parameters it comes from count as used.
        cells: Float ``[m, p, d]``.
        positions: Float ``[p, d]``; not trained.

    Returns:
        Float ``[n, k, d]``.
    """
    precision = _precision(cells)
    with torch.autocast(cells.device.type, enabled=False):
        seen: Tensor = _Read.apply(probes.to(precision), bias, cells, positions.detach())
    return seen


def write_cells(probes: Tensor, bias: Tensor, written: Tensor, cells: Tensor, positions: Tensor, heads: int) -> Tensor:
    """Let cells attend to vectors: add to each cell the vectors, weighted by the softmax of its scores per head.

    Args:
        probes: Vectors that positioned cells are multiplied by, float ``[n, k, d]``, grouped by head.
        bias: Added to the scores, float ``[n, k, 1]``.
        written: The vectors that are added, float ``[n, k, d]``.
        cells: Float ``[m, p, d]``.
        positions: Float ``[p, d]``; not trained.
        heads: Number of heads.

    Returns:
        Float ``[n, p, d]``, in the precision of the cells.
    """
    precision = _precision(cells)
    given = (part.to(precision) for part in (probes, bias, written))
    with torch.autocast(cells.device.type, enabled=False):
        changed: Tensor = _Write.apply(*given, cells, positions.detach(), heads)
    return changed


class _Read(Function):
    @staticmethod
    def forward(ctx: Any, probes: Tensor, bias: Tensor, cells: Tensor, positions: Tensor) -> Tensor:  # noqa: ANN401
        scores = _products(probes, (cells + positions).to(probes))
        weights = _softmax(scores, 2)  # [n, k, p]
        seen = _gather(weights, cells.to(probes))
        ctx.save_for_backward(probes, bias, cells, positions, weights, seen)
        return seen

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        probes, bias, cells, positions, weights, seen = ctx.saved_tensors
        common = (gradient * seen).sum(2, keepdim=True)  # the weighted mean of the gradients of a probe's weights
        of_scores = _products(gradient, cells.to(probes)).sub_(common).mul_(weights)
        of_probes = _gather(of_scores, (cells + positions).to(probes))
        of_cells = None
        if ctx.needs_input_grad[2]:
            both, vectors = torch.cat([of_scores, weights], 1), torch.cat([probes, gradient], 1)
            of_cells = _spread(both, vectors, len(cells)).to(cells)
        return of_probes, torch.zeros_like(bias), of_cells, None


class _Write(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        probes: Tensor,
        bias: Tensor,
        written: Tensor,
        cells: Tensor,
        positions: Tensor,
        heads: int,
    ) -> Tensor:
        scores = _products(probes, (cells + positions).to(probes)).add_(bias)
        weights = _softmax(scores.unflatten(1, (heads, -1)), 2).flatten(1, 2)  # [n, k, p]
        ctx.save_for_backward(probes, written, cells, positions, weights)
        ctx.heads = heads
        return _sum(cells, weights, written)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        probes, written, cells, positions, weights = ctx.saved_tensors
        given = gradient.to(probes)
        of_scores = _products(written, given).mul_(weights)
        by_head = of_scores.unflatten(1, (ctx.heads, -1))
        common = by_head.sum(2, keepdim=True)
        by_head.sub_(weights.unflatten(1, (ctx.heads, -1)) * common)
        of_probes = _gather(of_scores, (cells + positions).to(probes))
        of_cells = None
        if ctx.needs_input_grad[3]:
            of_cells = _sum(gradient, of_scores, probes)
            of_cells = of_cells.sum(0, keepdim=True) if len(cells) == 1 else of_cells
        return of_probes, of_scores.sum(2, keepdim=True), _gather(weights, given), of_cells, None, None


def _precision(cells: Tensor) -> torch.dtype:
    kind = cells.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else cells.dtype


def _softmax(scores: Tensor, axis: int) -> Tensor:
    return scores.softmax(axis, dtype=torch.promote_types(scores.dtype, torch.float32)).to(scores)


def _products(vectors: Tensor, cells: Tensor) -> Tensor:
    """Multiply vectors ``[n, k, d]`` by cells ``[m, p, d]`` to ``[n, k, p]``; shared cells take one product."""
    return vectors @ (cells[0].T if _are_shared(cells) else cells.transpose(1, 2))


def _gather(weights: Tensor, cells: Tensor) -> Tensor:
    """Sum cells ``[m, p, d]`` with weights ``[n, k, p]`` to ``[n, k, d]``."""
    return weights @ (cells[0] if _are_shared(cells) else cells)


def _are_shared(cells: Tensor) -> bool:
    """Return whether all prompts share cells ``[m, p, d]``; an exported program must not ask, since m may be open."""
    return not torch.compiler.is_exporting() and len(cells) == 1


def _spread(weights: Tensor, vectors: Tensor, shared: int) -> Tensor:
    """Sum vectors ``[n, k, d]`` with weights ``[n, k, p]`` to cells ``[m, p, d]``; over all prompts if m is 1."""
    if shared == 1:
        return (weights.flatten(0, 1).T @ vectors.flatten(0, 1))[None]
    return weights.transpose(1, 2) @ vectors


def _sum(cells: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
    """Add vectors ``[n, k, d]``, weighted by ``[n, k, p]``, to cells ``[m, p, d]`` in the cells' precision."""
    if cells.dtype == vectors.dtype:
        return torch.baddbmm(cells, weights.transpose(1, 2), vectors)
    return cells + weights.transpose(1, 2) @ vectors


def double(cells: Tensor, doubling: nn.ConvTranspose2d) -> Tensor:
    """Upscale each cell ``[..., c]`` to two rows of two, ``[..., 4, c']``, as a transposed convolution does."""
    weight = doubling.weight.flatten(2).transpose(1, 2)  # [c, 4, c']
    assert doubling.bias is not None
    four: Tensor = nn.functional.linear(cells, weight.flatten(1).T, doubling.bias.repeat(4)).unflatten(-1, (4, -1))
    return four


def draw(refine: Callable[[Tensor], Tensor], cells: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
    """Upscale a map twice, take the weighted sum over its channels, and arrange the result as masks.

    Args:
        refine: Doubles the resolution of cells twice, float ``[1, p, d]`` to ``[1, p, 4, 4, c]``; the first axis of
            four comes from the first doubling.
        cells: The map of each prompt, float ``[n, p, d]``.
        weights: Channel weights of each prompt, float ``[n, c]``.
        height: Height of the map, h.
        width: Width of the map, w.

    Returns:
        One mask per prompt, float ``[n, 4h, 4w]``.
    """
    if torch.compiler.is_exporting():  # the number of prompts stays open
        drawn = _drawn(refine, cells, weights)
    else:
        parts = zip(cells.split(1), weights.split(1), strict=True)
        drawn = torch.cat([_drawn(refine, *part) for part in parts])  # [n, p, 4, 4]
    # both axes of four are two rows of two: the first of the first doubling, the second of the second one
    squares = drawn.unflatten(3, (2, 2)).unflatten(2, (2, 2)).unflatten(1, (height, width))
    masks: Tensor = squares.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 6).flatten(1, 3)
    return masks


def _drawn(refine: Callable[[Tensor], Tensor], cells: Tensor, weights: Tensor) -> Tensor:
    """Refine one prompt's cells ``[1, p, d]`` and sum their channels with weights ``[1, c]``, to ``[1, p, 4, 4]``.

    The refined cells are by far the largest tensors of a mask head, and cheap to compute. Those of a single prompt fit
    into the processor's cache, and the backward pass computes them again.
    """

    def weighed(cells: Tensor, weights: Tensor) -> Tensor:
        refined = refine(cells)
        # a matrix product leaves the channels in place, also in the backward pass; an einsum would move them
        summed: Tensor = (refined.flatten(1, 3) @ weights[..., None]).unflatten(1, refined.shape[1:4])[..., 0]
        return summed

    if torch.is_grad_enabled():
        again: Tensor = checkpoint(weighed, cells, weights, use_reentrant=False, preserve_rng_state=False)
        return again
    return weighed(cells, weights)


def once_doubled(maps: Tensor) -> Tensor:
    """Arrange maps of twice the size as ``double`` does, ``[b, c, 2h, 2w]`` to ``[b, p, 4, c]``."""
    squares = maps.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # [b, c, h, 2, w, 2]
    cells: Tensor = squares.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)
    return cells


def twice_doubled(maps: Tensor) -> Tensor:
    """Arrange maps of four times the size as two calls of ``double`` do, ``[b, c, 4h, 4w]`` to ``[b, p, 4, 4, c]``."""
    squares = maps.unflatten(3, (-1, 2, 2)).unflatten(2, (-1, 2, 2))  # [b, c, h, 2, 2, w, 2, 2]
    cells: Tensor = squares.permute(0, 2, 5, 3, 6, 4, 7, 1).flatten(5, 6).flatten(3, 4).flatten(1, 2)
    return cells
