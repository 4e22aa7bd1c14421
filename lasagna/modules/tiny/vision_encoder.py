"""A small residual network with a feature pyramid.

Notation: b: images; H, W: input height and width in pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lasagna.core.processors import ImageProcessor
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, VisionEncoder
from lasagna.modules.image_processors import SquashImageProcessor
from lasagna.modules.tiny.weights import load_packaged

STEM, WIDE, MIDDLE, DEEP = 32, 48, 96, 160


class TinyVisionEncoder(VisionEncoder):
    """One million parameters, 96 channels at stride 8 and finer maps at strides 4 and 2.

    Pretrained on the scenes to predict the category and colour of every pixel (see docs/results.md,
    "What the parts know").

    Args:
        image_size: Height and width of the input in pixels, multiples of 16.
        weights: "pretrained" for those in the package, or "random".
        frozen: Whether the encoder keeps its weights in training.
    """

    def __init__(
        self,
        image_size: tuple[int, int] = (96, 96),
        weights: Literal["pretrained", "random"] = "pretrained",
        frozen: bool = True,
    ) -> None:
        super().__init__()
        if any(side % 16 or side < 32 for side in image_size):
            raise ConfigError(f"image_size: both sides must be multiples of 16 from 32 up, got {image_size}")
        self.image_size = image_size
        self.weights = weights
        self.frozen = frozen

    @property
    def spec(self) -> FeatureSpec:
        """Maps at strides 8, 4 and 2."""
        return FeatureSpec((MIDDLE, WIDE, STEM), (8, 4, 2), self.image_size)

    @property
    def image_processor(self) -> ImageProcessor:
        """Squash to ``image_size``."""
        return SquashImageProcessor(self.image_size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    def build(self) -> None:
        """Make the layers and load pretrained weights."""
        self.stem = _ConvNorm(3, STEM, stride=2)
        self.wide = nn.Sequential(_ConvNorm(STEM, WIDE, stride=2), _Residual(WIDE))
        self.middle = nn.Sequential(_ConvNorm(WIDE, MIDDLE, stride=2), _Residual(MIDDLE), _Residual(MIDDLE))
        self.deep = nn.Sequential(_ConvNorm(MIDDLE, DEEP, stride=2), _Residual(DEEP))
        self.deep_lateral = nn.Conv2d(DEEP, MIDDLE, 1)
        self.middle_lateral = nn.Conv2d(MIDDLE, MIDDLE, 1)
        self.wide_lateral = nn.Conv2d(WIDE, WIDE, 1)
        self.middle_to_wide = nn.Conv2d(MIDDLE, WIDE, 1)
        if self.weights == "pretrained":
            load_packaged(self, "vision_encoder")
        if self.frozen:
            self.freeze()

    def train(self, mode: bool = True) -> TinyVisionEncoder:
        """Set the mode; a frozen encoder stays in evaluation mode, so that its norm statistics do not change."""
        return super().train(mode and not self.frozen)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, H, W]`` into maps at strides 8, 4 and 2."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            stem = self.stem(pixels.to(memory_format=torch.channels_last))  # [b, 32, H/2, W/2]
            wide = self.wide(stem)  # [b, 48, H/4, W/4]
            middle = self.middle(wide)  # [b, 96, H/8, W/8]
            deep = self.deep_lateral(self.deep(middle))  # [b, 96, H/16, W/16]
            middle = self.middle_lateral(middle) + _double(deep)
            wide = self.wide_lateral(wide) + _double(self.middle_to_wide(middle))
            return [middle, wide, stem]


class _ConvNorm(nn.Sequential):
    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        conv = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        super().__init__(conv, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _ConvNorm(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.second(self.first(features)))


def _double(features: Tensor) -> Tensor:
    return nn.functional.interpolate(features, scale_factor=2.0, mode="nearest")
