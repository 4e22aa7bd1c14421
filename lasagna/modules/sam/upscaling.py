"""Doubling a map twice, cell by cell, as SAM's mask decoders do.

A transposed convolution of stride 2 and side 2 turns each cell into four by itself, so that it is a linear layer, and
the cells need not be put in their places before one mask is left of the channels.

Notation: n: prompts; p: cells of the map; c: channels; h, w: height and width of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def double(cells: Tensor, doubling: nn.ConvTranspose2d) -> Tensor:
    """Turn each cell ``[..., c]`` into two rows of two, ``[..., 4, c']``."""
    weight = doubling.weight.flatten(2).transpose(1, 2)  # [c, 4, c']
    assert doubling.bias is not None
    four: Tensor = nn.functional.linear(cells, weight.flatten(1).T).unflatten(-1, weight.shape[1:])
    return four + doubling.bias


def weigh(weights: Tensor, cells: Tensor, height: int, width: int) -> Tensor:
    """Sum cells that were doubled twice over their channels, and put them in their places.

    Args:
        weights: Weights of the channels for each prompt, float ``[n, c]``.
        cells: Float ``[n, p, 4, 4, c]``; the first four are the places of the first doubling.
        height: Height of the map before it was doubled, h.
        width: Its width, w.

    Returns:
        One map a prompt, float ``[n, 4h, 4w]``.
    """
    summed = torch.einsum("nc,npijc->npij", weights, cells)
    squares = summed.unflatten(3, (2, 2)).unflatten(2, (2, 2)).unflatten(1, (height, width))
    masks: Tensor = squares.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 6).flatten(1, 3)
    return masks


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
