"""A small mask decoder similar to SAM's: prompt and image attend to each other, then the map is refined.

Notation: b: images; n: prompts; d: width; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.language_models.projector import grid_waves
from lasagna.modules.tiny.weights import load_packaged

WIDTH, FINE, FINEST = 64, 32, 16


class TinyMaskHead(MaskHead):
    """Two two-way blocks on the main map, then two doublings that add the encoder's finer maps.

    The decoder follows SAM (arXiv 2304.02643, appendix A): prompt and mask token attend to each other and to the image,
    the image attends to them, and the mask token weights the channels of the refined map. Pretrained on the scenes to
    draw the object that a point or a word denotes (see docs/results.md, "What the parts know").

    Args:
        weights: "pretrained" for those in the package, which fit the tiny vision encoder; "random" for other encoders.
        chunk: Most prompts that are decoded at once, which bounds the memory.
    """

    def __init__(self, weights: Literal["pretrained", "random"] = "pretrained", chunk: int = 256) -> None:
        super().__init__()
        if chunk < 1:
            raise ConfigError(f"chunk: expected at least 1 prompt at once, got {chunk}")
        self.weights = weights
        self.chunk = chunk

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return WIDTH

    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps and load pretrained weights."""
        finer = dict(zip(features.strides[:0:-1], features.channels[:0:-1], strict=True))  # the first of each stride
        self.grid = features.grid
        self.image_projection = nn.Conv2d(features.channels[0], WIDTH, 1)
        self.position = nn.Linear(grid_waves((1, 1)).shape[1], WIDTH)
        self.mask_token = nn.Parameter(0.1 * torch.randn(WIDTH))
        self.blocks = nn.ModuleList([_TwoWayBlock(WIDTH) for _ in range(2)])
        self.refine = nn.ModuleList([_Doubling(WIDTH, FINE), _Doubling(FINE, FINEST)])
        wanted = ((features.strides[0] / 2, FINE), (features.strides[0] / 4, FINEST))
        self.skips = nn.ModuleList(
            [nn.Conv2d(finer[stride], width, 1) if stride in finer else nn.Identity() for stride, width in wanted]
        )
        self.finer = [features.strides.index(stride) if stride in finer else None for stride, _ in wanted]
        self.channel_weights = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, FINEST + 1))
        if self.weights == "pretrained":
            load_packaged(self, "mask_head")

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
        """Draw one mask for each prompt ``[n, d]``, logits ``[n, 4h, 4w]``."""
        image: Tensor = self.image_projection(features[0])  # [b, d, h, w]
        skips = [
            None if place is None else skip(features[place]) for skip, place in zip(self.skips, self.finer, strict=True)
        ]
        position = self.position(grid_waves(self.grid).to(prompts))  # [h*w, d]
        parts = zip(prompts.split(self.chunk), image_index.split(self.chunk), strict=True)
        return torch.cat([self._decode(image, position, skips, part, index) for part, index in parts])

    def _decode(
        self, image: Tensor, position: Tensor, skips: Sequence[Tensor | None], prompts: Tensor, index: Tensor
    ) -> Tensor:
        height, width = image.shape[2:]
        tokens = torch.stack([self.mask_token.expand_as(prompts), prompts], 1)  # [n, 2, d]
        cells = image.flatten(2).transpose(1, 2)[index]  # [n, h*w, d]
        for block in self.blocks:
            tokens, cells = block(tokens, cells, position)
        refined = cells.transpose(1, 2).unflatten(2, (height, width))
        for doubling, skip in zip(self.refine, skips, strict=True):
            refined = doubling(refined, None if skip is None else skip[index])
        weights: Tensor = self.channel_weights(tokens[:, 0])
        return torch.einsum("nc,nchw->nhw", weights[:, :-1], refined) + weights[:, -1, None, None]


class _TwoWayBlock(nn.Module):
    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.among_tokens = nn.MultiheadAttention(width, heads, batch_first=True)
        self.to_image = nn.MultiheadAttention(width, heads, batch_first=True)
        self.to_tokens = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(4)])

    def forward(self, tokens: Tensor, cells: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        # need_weights stays true, since the backward pass of torch's fused kernel is slow on CPUs for narrow heads
        placed = cells + position
        tokens = self.norms[0](tokens + self.among_tokens(tokens, tokens, tokens)[0])
        tokens = self.norms[1](tokens + self.to_image(tokens, placed, cells)[0])
        tokens = self.norms[2](tokens + self.mlp(tokens))
        cells = self.norms[3](cells + self.to_tokens(placed, tokens, tokens)[0])
        return tokens, cells


class _Doubling(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2)
        self.mix = nn.Conv2d(channels_out, channels_out, 3, padding=1)

    def forward(self, features: Tensor, skip: Tensor | None) -> Tensor:
        features = self.up(features)
        if skip is not None:
            features = features + skip
        return nn.functional.gelu(features + self.mix(nn.functional.gelu(features)))
