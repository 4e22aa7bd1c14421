"""Doubling a map twice, cell by cell, as SAM's mask decoders do.

A transposed convolution of stride 2 and side 2 turns each cell into four by itself, so that it is a linear layer, and
the cells need not be put in their places before one mask is left of the channels.

Notation: n: prompts; p: cells of the map; c: channels; h, w: height and width of the map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


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
