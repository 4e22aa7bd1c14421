"""Products of a few vectors with the many cells of a map, their way back written out.

Plain operators would hold the cells with and without positions, bring gradients in the wrong order of axes, and add one
to the other in passes over all cells. Here the weights alone are held, and each cell's gradient comes from one product.

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
    """Return what each probe sees: cells, weighed by the softmax over them of probe times cell at its position.

    Args:
        probes: Float ``[n, k, d]``.
        bias: What all of a probe's scores have in common, float ``[n, k, 1]``; it moves no weight, and gets a gradient
            of zeros, so that the parameters behind it count as used.
        cells: Float ``[m, p, d]``.
        positions: Float ``[p, d]``; they are not trained.

    Returns:
        Float ``[n, k, d]``.
    """
    precision = _precision(cells)
    with torch.autocast(cells.device.type, enabled=False):
        seen: Tensor = _Read.apply(probes.to(precision), bias, cells, positions.detach())
    return seen


def write_cells(probes: Tensor, bias: Tensor, written: Tensor, cells: Tensor, positions: Tensor, heads: int) -> Tensor:
    """Return cells plus what each sees: vectors, weighed by the softmax over a head's of probe times cell plus bias.

    Args:
        probes: What cells at their positions are multiplied with, float ``[n, k, d]``, one head's after the other's.
        bias: Float ``[n, k, 1]``.
        written: The vectors, float ``[n, k, d]``.
        cells: Float ``[m, p, d]``.
        positions: Float ``[p, d]``; they are not trained.
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
        scores = _meet(probes, (cells + positions).to(probes))
        weights = _softmax(scores, 2)  # [n, k, p]
        seen = _gather(weights, cells.to(probes))
        ctx.save_for_backward(probes, bias, cells, positions, weights, seen)
        return seen

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        probes, bias, cells, positions, weights, seen = ctx.saved_tensors
        common = (gradient * seen).sum(2, keepdim=True)  # the mean of a probe's gradients, by its weights
        of_scores = _meet(gradient, cells.to(probes)).sub_(common).mul_(weights)
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
        scores = _meet(probes, (cells + positions).to(probes)).add_(bias)
        weights = _softmax(scores.unflatten(1, (heads, -1)), 2).flatten(1, 2)  # [n, k, p]
        ctx.save_for_backward(probes, written, cells, positions, weights)
        ctx.heads = heads
        return _sum(cells, weights, written)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        probes, written, cells, positions, weights = ctx.saved_tensors
        given = gradient.to(probes)
        of_scores = _meet(written, given).mul_(weights)
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


def _meet(vectors: Tensor, cells: Tensor) -> Tensor:
    """Multiply vectors ``[n, k, d]`` and cells ``[m, p, d]``, ``[n, k, p]``; shared cells in one product."""
    return vectors @ (cells[0].T if len(cells) == 1 else cells.transpose(1, 2))


def _gather(weights: Tensor, cells: Tensor) -> Tensor:
    """Sum cells ``[m, p, d]`` by weights ``[n, k, p]``, ``[n, k, d]``."""
    return weights @ (cells[0] if len(cells) == 1 else cells)


def _spread(weights: Tensor, vectors: Tensor, shared: int) -> Tensor:
    """Sum vectors ``[n, k, d]`` by weights ``[n, k, p]`` for each cell, ``[m, p, d]``; over all prompts if m is 1."""
    if shared == 1:
        return (weights.flatten(0, 1).T @ vectors.flatten(0, 1))[None]
    return weights.transpose(1, 2) @ vectors


def _sum(cells: Tensor, weights: Tensor, vectors: Tensor) -> Tensor:
    """Add vectors ``[n, k, d]``, by weights ``[n, k, p]``, to cells ``[m, p, d]`` in the cells' precision."""
    if cells.dtype == vectors.dtype:
        return torch.baddbmm(cells, weights.transpose(1, 2), vectors)
    return cells + weights.transpose(1, 2) @ vectors


def double(cells: Tensor, doubling: nn.ConvTranspose2d) -> Tensor:
    """Turn each cell ``[..., c]`` into two rows of two, ``[..., 4, c']``."""
    weight = doubling.weight.flatten(2).transpose(1, 2)  # [c, 4, c']
    assert doubling.bias is not None
    four: Tensor = nn.functional.linear(cells, weight.flatten(1).T, doubling.bias.repeat(4)).unflatten(-1, (4, -1))
    return four


def draw(refine: Callable[[Tensor], Tensor], cells: Tensor, weights: Tensor, height: int, width: int) -> Tensor:
    """Double the cells of a map twice, sum them over their channels, and put them in their places.

    Args:
        refine: What doubles cells twice, float ``[1, p, d]`` to ``[1, p, 4, 4, c]``; the first four are the places of
            the first doubling.
        cells: The map as each prompt sees it, float ``[n, p, d]``.
        weights: Weights of the channels for each prompt, float ``[n, c]``.
        height: Height of the map, h.
        width: Its width, w.

    Returns:
        One map a prompt, float ``[n, 4h, 4w]``.
    """
    parts = zip(cells.split(1), weights.split(1), strict=True)
    drawn = torch.cat([_drawn(refine, *part) for part in parts])  # [n, p, 4, 4]
    # within a cell, the first four are the places of the first doubling, the others of the second: two rows of two
    squares = drawn.unflatten(3, (2, 2)).unflatten(2, (2, 2)).unflatten(1, (height, width))
    masks: Tensor = squares.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 6).flatten(1, 3)
    return masks


def _drawn(refine: Callable[[Tensor], Tensor], cells: Tensor, weights: Tensor) -> Tensor:
    """Refine one prompt's cells ``[1, p, d]`` and weigh their channels by ``[1, c]``, to ``[1, p, 4, 4]``.

    Between the two lie the largest tensors of a mask head, by far, and little work: one prompt's stay in the
    processor's cache, and going backward they are computed again.
    """

    def weighed(cells: Tensor, weights: Tensor) -> Tensor:
        refined = refine(cells)
        # a product that reads and, going backward, writes the channels where they stand, not an einsum that moves them
        summed: Tensor = (refined.flatten(1, 3) @ weights[..., None]).unflatten(1, refined.shape[1:4])[..., 0]
        return summed

    if torch.is_grad_enabled():
        again: Tensor = checkpoint(weighed, cells, weights, use_reentrant=False, preserve_rng_state=False)
        return again
    return weighed(cells, weights)


def once_doubled(maps: Tensor) -> Tensor:
    """Order maps of twice the size as ``double`` does, ``[b, c, 2h, 2w]`` to ``[b, p, 4, c]``."""
    squares = maps.unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # [b, c, h, 2, w, 2]
    cells: Tensor = squares.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)
    return cells


def twice_doubled(maps: Tensor) -> Tensor:
    """Order maps of four times the size as ``double`` twice does, ``[b, c, 4h, 4w]`` to ``[b, p, 4, 4, c]``."""
    squares = maps.unflatten(3, (-1, 2, 2)).unflatten(2, (-1, 2, 2))  # [b, c, h, 2, 2, w, 2, 2]
    cells: Tensor = squares.permute(0, 2, 5, 3, 6, 4, 7, 1).flatten(5, 6).flatten(3, 4).flatten(1, 2)
    return cells
