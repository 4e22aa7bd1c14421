"""A mask head for objects: several masks for each prompt, each drawn by another head and with a score.

Notation: b: images; n: prompts; k: masks of a prompt; d: width of a prompt; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lasagna.errors import ConfigError, check_counts
from lasagna.modules.base import FeatureSpec, MaskHead
from lasagna.modules.language_models.projector import grid_waves
from lasagna.modules.mask_prediction import MaskPrediction

HEADS = 4

EMPTY = 1e-3
"""Least area of a mask in cells when the cells under it are averaged."""


class ObjectMaskHead(MaskHead):
    """Turns each prompt into prompts of objects, for which a head with one mask a prompt draws the masks.

    Learned queries, to which the prompt is added, attend to the image and to one another (DETR, arXiv 2005.12872). Each
    becomes a prompt of its own. The cells of the image know their position, so that objects of one look can be told
    apart. A last round of attention reads the mean of the cells under each mask that was drawn, and gives the
    probability that it is one of the objects, so that a mask that repeats another one can be told. Train it with
    ``ObjectLoss``.

    Args:
        head: Draws the masks; every head with one mask a prompt does.
        masks: Most objects of one name.
        layers: Rounds of attention.

    Raises:
        ConfigError: If a number is smaller than 1, or the width of the head's prompts cannot be split.
    """

    def __init__(self, head: MaskHead, masks: int = 8, layers: int = 2) -> None:
        super().__init__()
        check_counts(masks=masks, layers=layers)
        if head.prompt_dim % HEADS:
            raise ConfigError(f"head: its prompts are {head.prompt_dim} wide; take one with a multiple of {HEADS}")
        self.head = head
        self.masks = masks
        self.layers = layers

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return self.head.prompt_dim

    @property
    def most_masks(self) -> int:
        """Most masks of a prompt."""
        return self.masks

    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps, and those of the head."""
        width = self.prompt_dim
        self.head.build(features)
        self.grid = features.grid
        self.image_projection = nn.Conv2d(features.channels[0], width, 1)
        self.position = nn.Linear(grid_waves((1, 1)).shape[1], width)
        self.queries = nn.Parameter(torch.randn(self.masks, width))
        self.blocks = nn.ModuleList([_Block(width) for _ in range(self.layers)])
        self.move = nn.Linear(width, width)
        self.drawn = nn.Linear(width, width)
        self.judge = _Block(width)
        self.score = nn.Linear(width, 1)

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> MaskPrediction:
        """Draw masks for each prompt ``[n, d]``, logits ``[n, k, h', w']`` and scores ``[n, k]``."""
        position = self.position(grid_waves(self.grid).to(prompts))  # [h*w, d]
        cells = self.image_projection(features[0]).flatten(2).transpose(1, 2) + position
        tokens, cells = self.queries + prompts[:, None], cells[image_index]  # [n, k, d], [n, h*w, d]
        for block in self.blocks:
            tokens = block(tokens, cells)
        of_objects = prompts[:, None] + self.move(tokens)
        logits = self.head(features, of_objects.flatten(0, 1), image_index.repeat_interleave(self.masks))
        logits = logits.unflatten(0, (-1, self.masks))
        # scores are not to change what is drawn
        judged = self.judge(tokens + self.drawn(self._pooled(cells, logits.detach())), cells)
        return MaskPrediction(logits, self.score(judged)[..., 0].float().sigmoid())

    def _pooled(self, cells: Tensor, logits: Tensor) -> Tensor:
        """Return the mean of the cells ``[n, h*w, d]`` under each mask of ``[n, k, h', w']``, ``[n, k, d]``."""
        shares = nn.functional.adaptive_avg_pool2d(logits.sigmoid(), self.grid).flatten(2)
        return (shares / shares.sum(2, keepdim=True).clamp(min=EMPTY)).to(cells) @ cells


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
