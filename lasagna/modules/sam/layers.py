"""Layers that SAM's networks share, with the original's names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a map ``[b, c, h, w]``.

    Args:
        channels: Number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise each cell of a map ``[b, c, h, w]``."""
        return self.last(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def last(self, places: Tensor) -> Tensor:
        """Normalise cells whose channels are the last axis, ``[..., c]``."""
        return nn.functional.layer_norm(places, self.weight.shape, self.weight, self.bias, 1e-6)


class MLPBlock(nn.Module):
    """Two linear layers with an activation between them.

    Args:
        width: Width of input and output.
        hidden: Width between the layers.
        activation: The activation.
    """

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, values: Tensor) -> Tensor:
        """Transform values ``[..., d]`` into values of the same shape."""
        transformed: Tensor = self.lin2(self.activation(self.lin1(values)))
        return transformed


class MLP(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        width: Width of the input.
        hidden: Width between the layers.
        out: Width of the output.
        depth: Number of layers.
    """

    def __init__(self, width: int, hidden: int, out: int, depth: int) -> None:
        super().__init__()
        widths = [width, *[hidden] * (depth - 1), out]
        self.layers = nn.ModuleList([nn.Linear(widths[step], widths[step + 1]) for step in range(depth)])

    def forward(self, values: Tensor) -> Tensor:
        """Transform values ``[..., d]`` into ``[..., out]``."""
        for step, layer in enumerate(self.layers):
            values = layer(values if step == 0 else values.relu())
        return values
