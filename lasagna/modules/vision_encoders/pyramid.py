"""A feature pyramid on top of a vision encoder.

Notation: b: images; H, W: input height and width in pixels; c, h, w: channels, height, width of a map.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError, check_counts
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.sam.layers import LayerNorm2d
from lasagna.modules.vision_encoders.shared_tower import SharedTower


class FeaturePyramid(VisionEncoder):
    """Maps of equal width at the main stride and all finer ones, from the maps of another encoder.

    A stride that the encoder has no map of is reached by transposed convolutions from the nearest coarser map, as in
    ViTDet (arXiv 2203.16527). Of several layers of a transformer the deepest becomes the coarsest level, and earlier
    ones the finer levels. Then torchvision's feature pyramid network (arXiv 1612.03144) joins the levels. The pyramid
    starts from random weights and is trained, whether the encoder is or not.

    Args:
        encoder: The encoder.
        channels: Channels of every map.
        finest: Stride of the finest map, if the main stride can be halved so far.

    Raises:
        ConfigError: If a number is smaller than 1, or the encoder is a tower that the language model shares.
    """

    def __init__(self, encoder: VisionEncoder, channels: int = 128, finest: int = 4) -> None:
        super().__init__()
        check_counts(channels=channels, finest=finest)
        if isinstance(encoder, SharedTower):
            raise ConfigError(
                "encoder: SharedTower gives its map to the language model as it is; take an encoder with weights of "
                "its own under a FeaturePyramid"
            )
        self.encoder = encoder
        self.channels = channels
        self.finest = finest

    @property
    def strides(self) -> tuple[float, ...]:
        """Strides of the levels, coarsest first."""
        levels = [self.encoder.spec.strides[0]]
        while levels[-1] % 2 == 0 and levels[-1] // 2 >= self.finest:
            levels.append(levels[-1] // 2)
        return tuple(levels)

    @property
    def spec(self) -> FeatureSpec:
        """One map for each level, coarsest first."""
        return FeatureSpec((self.channels,) * len(self.strides), self.strides, self.encoder.spec.image_size)

    @property
    def image_processor(self) -> ImageProcessor:
        """The encoder's own."""
        return self.encoder.image_processor

    def build(self) -> None:
        """Build the encoder and make the layers of the pyramid."""
        self.encoder.build()
        spec = self.encoder.spec
        self.sources = [_source(spec, stride) for stride in self.strides]
        rises = [_Rise(spec.channels[source], doublings) for source, doublings in self.sources]
        self.rises = nn.ModuleList(rises)
        widths = [rise.channels for rise in reversed(rises)]
        self.network = FeaturePyramidNetwork(widths, self.channels, norm_layer=LayerNorm2d)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` to the maps that ``spec`` announces, each ``[b, c, h, w]``."""
        maps = self.encoder(pixels)
        levels = [rise(maps[source]) for rise, (source, _) in zip(self.rises, self.sources, strict=True)]
        joined = self.network(OrderedDict((str(rank), level) for rank, level in enumerate(reversed(levels))))
        return list(joined.values())[::-1]


def _source(spec: FeatureSpec, stride: float) -> tuple[int, int]:
    """Return the index of the map that a level comes from, and how often its resolution is doubled."""
    coarser = [one for one in spec.strides if one >= stride and math.log2(one / stride).is_integer()]
    doublings = int(math.log2(min(coarser) / stride))
    alike = [place for place, one in enumerate(spec.strides) if one == min(coarser)]
    return alike[min(doublings, len(alike) - 1)], doublings


class _Rise(nn.Module):
    """Doubles the resolution of a map some times, and halves its channels each time."""

    def __init__(self, channels: int, doublings: int) -> None:
        super().__init__()
        steps = list[nn.Module]()
        for step in range(doublings):
            narrower = max(1, channels // 2)
            steps += [LayerNorm2d(channels), nn.GELU()] if step else []
            steps.append(nn.ConvTranspose2d(channels, narrower, 2, stride=2))
            channels = narrower
        self.channels = channels
        self.steps = nn.Sequential(*steps)

    def forward(self, features: Tensor) -> Tensor:
        risen: Tensor = self.steps(features)
        return risen
