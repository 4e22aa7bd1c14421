"""Four maps of doubling size from the maps of any vision encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lasagna.modules.base import FeatureSpec

LEVELS = 4


class Pyramid(nn.Module):
    """Brings the maps of a vision encoder to four, each twice as large as the one before it.

    The first is the main map, if the encoder has three finer ones for the others, or else half as large as it. A map
    that the encoder does not have is made of the next coarser one by a transposed convolution, and the first by a
    convolution with stride 2 (as in ViTDet, arXiv 2203.16527).

    Args:
        features: The vision encoder's maps.
        width: Channels of the maps that are made.

    Attributes:
        channels: Channels of the four maps, the coarsest first.
    """

    def __init__(self, features: FeatureSpec, width: int) -> None:
        super().__init__()
        main = features.strides[0]
        complete = {main / 2**step for step in range(LEVELS)} <= set(features.strides)
        strides = [(main if complete else 2 * main) / 2**step for step in range(LEVELS)]
        self.places = [features.strides.index(stride) if stride in features.strides else None for stride in strides]
        self.channels: list[int] = []
        made: list[nn.Module] = []
        for rank, place in enumerate(self.places):
            if place is not None:
                made.append(nn.Identity())
            elif rank == 0:
                made.append(nn.Conv2d(features.channels[0], width, 3, stride=2, padding=1))
            else:
                made.append(nn.Sequential(nn.ConvTranspose2d(self.channels[-1], width, 2, stride=2), nn.GELU()))
            self.channels.append(width if place is None else features.channels[place])
        self.made = nn.ModuleList(made)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Turn the encoder's maps into four, the coarsest first, each float ``[b, c, h, w]``."""
        levels: list[Tensor] = []
        for place, layer in zip(self.places, self.made, strict=True):
            levels.append(features[place] if place is not None else layer(levels[-1] if levels else features[0]))
        return levels
