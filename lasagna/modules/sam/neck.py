"""Fits the maps of any vision encoder to the mask heads of SAM and SAM 2.

Notation: b: images; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from lasagna.modules.base import FeatureSpec
from lasagna.modules.sam.layers import LayerNorm2d

STRIDE = 16
"""Input pixels per cell of the main map of SAM and SAM 2."""


class Neck(nn.Module):
    """Resizes maps to strides 16, 8 and 4, and projects their channels by convolutions of one cell and a norm.

    As in SAM's own neck, a norm over the channels comes last. The main map is made from the encoder's main map, each
    finer one from the map of the nearest stride.

    Args:
        features: The vision encoder's maps.
        channels: Channels of each map that the mask head reads, the main one first.
    """

    def __init__(self, features: FeatureSpec, channels: Sequence[int]) -> None:
        super().__init__()
        strides = [STRIDE // 2**step for step in range(len(channels))]
        self.sources = [0, *(_nearest(features.strides, stride) for stride in strides[1:])]
        rows, columns = (max(1, round(side / STRIDE)) for side in features.image_size)
        self.sizes = [(rows * 2**step, columns * 2**step) for step in range(len(channels))]
        self.projections = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(features.channels[source], width, 1, bias=False), LayerNorm2d(width))
                for source, width in zip(self.sources, channels, strict=True)
            ]
        )
        self.spec = FeatureSpec(tuple(channels), tuple(strides), features.image_size)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Fit the encoder's maps, each ``[b, c, h, w]``, to those that ``spec`` describes."""
        parts = zip(self.projections, self.sources, self.sizes, strict=True)
        return [projection(_resized(features[source], size)) for projection, source, size in parts]


def _nearest(strides: Sequence[float], wanted: float) -> int:
    distances = [abs(math.log2(stride / wanted)) for stride in strides]
    return distances.index(min(distances))


def _resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(features.shape[2:]) == size:
        return features
    # antialiasing counts where a map is made smaller
    return nn.functional.interpolate(features, size, mode="bilinear", antialias=True)
