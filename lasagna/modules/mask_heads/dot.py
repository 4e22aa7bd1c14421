"""A light mask head: the map of an image is refined once, and each mask is one product with it.

Notation: b: images; n: prompts; d: width of a prompt and of the refined map; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, MaskHead

DOUBLINGS = 2
GROUPS = 8
"""Groups of a group norm."""


class DotMaskHead(MaskHead):
    """Masks are dot products of prompts with a refined map (MaskFormer, arXiv 2107.06278, section 3.3).

    The resolution of the main map is doubled twice, and the encoder's finer maps are added on the way. Prompts do not
    change the map, so that a hundred masks of an image cost little more than one. In return, a prompt cannot attend to
    the image first, as it does in SAM's decoder.

    Args:
        width: Width of a prompt, and channels of the refined map.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        if width < 1 or width % GROUPS:
            raise ConfigError(f"mask_head.width: expected a positive multiple of {GROUPS}, got {width}")
        self.width = width

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return self.width

    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps."""
        self.image_projection = nn.Conv2d(features.channels[0], self.width, 1)
        places = [_place(features, step) for step in range(1, DOUBLINGS + 1)]
        self.places = places
        self.skips = nn.ModuleList(
            [nn.Identity() if place is None else nn.Conv2d(features.channels[place], self.width, 1) for place in places]
        )
        self.doublings = nn.ModuleList([_Doubling(self.width) for _ in places])
        self.weigh = nn.Sequential(nn.Linear(self.width, self.width), nn.ReLU(), nn.Linear(self.width, self.width + 1))

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
        """Draw one mask for each prompt ``[n, d]``, logits ``[n, 4h, 4w]``."""
        refined: Tensor = self.image_projection(features[0])
        for doubling, skip, place in zip(self.doublings, self.skips, self.places, strict=True):
            refined = doubling(refined, None if place is None else skip(features[place]))
        weights = self.weigh(prompts)
        if torch.compiler.is_exporting():  # how many prompts an image has stays open
            drawn: Tensor = torch.einsum("nd,ndhw->nhw", weights[:, :-1], refined[image_index]) + weights[:, -1:, None]
            return drawn
        order = image_index.argsort(stable=True)
        counts = image_index.bincount(minlength=len(refined)).tolist()
        masks = [
            torch.einsum("nd,dhw->nhw", weights[part, :-1], image) + weights[part, -1:, None]
            for part, image in zip(order.split(counts), refined, strict=True)
        ]
        return torch.cat(masks)[order.argsort()]


def _place(features: FeatureSpec, doublings: int) -> int | None:
    """Return the index of the map that has the main map's size after some doublings, or None."""
    stride = features.strides[0] / 2**doublings
    return features.strides.index(stride) if stride in features.strides else None


class _Doubling(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(GROUPS, width), nn.GELU())

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        features = nn.functional.interpolate(features, scale_factor=2.0, mode="bilinear")
        if skip is not None:
            features = features + skip
        mixed: Tensor = features + self.mix(features)
        return mixed
