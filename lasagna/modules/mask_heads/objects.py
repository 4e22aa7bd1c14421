"""A light mask head for objects: several masks for each prompt, each with a score.

Notation: b: images; n: prompts; k: masks of a prompt; d: width of a prompt and of the refined map; h, w: cells of the
main map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lasagna.errors import check_counts
from lasagna.modules.base import FeatureSpec, MaskPrediction
from lasagna.modules.language_models.projector import grid_waves
from lasagna.modules.mask_heads.dot import DotMaskHead, products

HEADS = 4


class ObjectMaskHead(DotMaskHead):
    """Several masks for each prompt, as dot products with a refined map (MaskFormer, arXiv 2107.06278).

    Learned queries, to which the prompt is added, attend to one another and to the image (DETR, arXiv 2005.12872). From
    each comes a mask, and the probability that it is one of the objects that the prompt asks for. The cells know their
    position, so that objects of one look can be told apart. Train it with ``ObjectLoss``.

    Args:
        masks: Most objects of one name.
        width: Width of a prompt, and channels of the refined map.
        layers: Rounds of attention.

    Raises:
        ConfigError: If a number is smaller than 1, or the width cannot be split.
    """

    def __init__(self, masks: int = 8, width: int = 64, layers: int = 3) -> None:
        super().__init__(width)
        check_counts(masks=masks, layers=layers)
        self.masks = masks
        self.layers = layers

    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps."""
        super().build(features)
        self.grid = features.grid
        self.position = nn.Linear(grid_waves((1, 1)).shape[1], self.width)
        self.queries = nn.Parameter(torch.randn(self.masks, self.width))
        self.blocks = nn.ModuleList([_Block(self.width) for _ in range(self.layers)])
        self.score = nn.Linear(self.width, 1)

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> MaskPrediction:  # type: ignore[override]
        """Draw masks for each prompt ``[n, d]``, logits ``[n, k, 4h, 4w]`` and scores ``[n, k]``."""
        position = self.position(grid_waves(self.grid).to(prompts)).T.unflatten(1, self.grid)
        main = self.image_projection(features[0]) + position
        cells = main.flatten(2).transpose(1, 2)[image_index]  # [n, h*w, d]
        tokens = self.queries + prompts[:, None]  # [n, k, d]
        for block in self.blocks:
            tokens = block(tokens, cells)
        weights = self.weigh(tokens).flatten(0, 1)
        logits = products(weights, self.refine(main, features), image_index.repeat_interleave(self.masks))
        return MaskPrediction(logits.unflatten(0, (-1, self.masks)), self.score(tokens)[..., 0].float().sigmoid())


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_image = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.among = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(3)])

    def forward(self, tokens: Tensor, cells: Tensor) -> Tensor:
        tokens = self.norms[0](tokens + self.to_image(tokens, cells, cells)[0])
        tokens = self.norms[1](tokens + self.among(tokens, tokens, tokens)[0])
        found: Tensor = self.norms[2](tokens + self.mlp(tokens))
        return found
