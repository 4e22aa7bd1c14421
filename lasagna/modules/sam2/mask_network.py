"""SAM 2's mask decoder, of which one mask a prompt is computed.

Notation: n: prompts; p: cells of the map; d: width; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lasagna.modules.sam.layers import ChannelNorm, Layers
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam.two_way import TwoWayTransformer
from lasagna.modules.sam.upscaling import double, draw

FIRST_MASK = 2
"""Place of the first mask token, behind those of presence and of mask quality."""


class Sam2MaskNetwork(nn.Module):
    """SAM's mask decoder with a token more, which takes up two finer maps (arXiv 2408.00714, appendix D).

    All tokens are there, since they look at each other, but not what reads presence, quality and other masks off them.

    Args:
        size: Sizes of the mask decoder.
    """

    def __init__(self, size: SamHeadSize) -> None:
        super().__init__()
        width = size.prompt_dim
        self.transformer = TwoWayTransformer(size)
        self.obj_score_token = nn.Embedding(1, width)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(size.masks, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList([Layers(width, width, width // 8, 3)])

    def forward(self, image: Tensor, finer: Sequence[Tensor], positions: Tensor, prompts: Tensor) -> Tensor:
        """Draw one mask for each of one image's prompts.

        Args:
            image: The image's main map, float ``[d, h, w]``.
            finer: Its finer maps in the order of doubled cells, float ``[p, 4, d/4]`` and ``[p, 4, 4, d/8]``.
            positions: Positions of the main map's cells, float ``[p, d]``.
            prompts: Float ``[n, d]``.

        Returns:
            Mask logits, float ``[n, 4h, 4w]``.
        """
        own = torch.cat([part.weight for part in (self.obj_score_token, self.iou_token, self.mask_tokens)]).to(prompts)
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts[:, None]], 1)  # [n, 3 + masks, d]
        token, cells = self.transformer(tokens, image.flatten(1).T[None], positions, wanted=FIRST_MASK)
        weights = self.output_hypernetworks_mlps[0](token)
        return draw(lambda some: self._refine(some, finer), cells, weights, *image.shape[1:])

    def _refine(self, cells: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """Double the map twice, ``[n, p, d]`` to ``[n, p, 4, 4, d/8]``, and take up a finer map each time."""
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, ChannelNorm)
        assert isinstance(second, nn.ConvTranspose2d)
        doubled = nn.functional.gelu(norm.last(double(cells, first) + finer[0]))
        return nn.functional.gelu(double(doubled, second) + finer[1])
