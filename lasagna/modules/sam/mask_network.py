"""SAM's mask decoder, of which one mask a prompt is computed.

Notation: n: prompts; p: cells of the map; d: width; h, w: cells of the main map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lasagna.modules.sam.layers import ChannelNorm, Layers
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam.two_way import TwoWayTransformer
from lasagna.modules.sam.upscaling import double, draw


class MaskNetwork(nn.Module):
    """Two-way transformer, upscaling, and a mask token that weighs the channels (arXiv 2304.02643, appendix A).

    The predictor of mask quality and the layers of the second and later masks are there for their names alone; they
    are not computed and not trained.

    Args:
        size: Sizes of the mask head.
    """

    def __init__(self, size: SamHeadSize) -> None:
        super().__init__()
        width = size.prompt_dim
        self.transformer = TwoWayTransformer(size)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(size.masks, width)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList([Layers(width, width, width // 8, 3) for _ in range(size.masks)])
        self.iou_prediction_head = Layers(width, size.iou_dim, size.masks, size.iou_depth)
        for unused in (self.iou_prediction_head, *self.output_hypernetworks_mlps[1:]):
            unused.requires_grad_(False)

    def forward(self, image: Tensor, positions: Tensor, prompts: Tensor) -> Tensor:
        """Draw one mask for each of one image's prompts.

        Args:
            image: The image's map, float ``[d, h, w]``.
            positions: Positions of its cells, float ``[p, d]``.
            prompts: Float ``[n, d]``.

        Returns:
            Mask logits, float ``[n, 4h, 4w]``.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).to(prompts)
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts[:, None]], 1)  # [n, 2 + masks, d]
        token, cells = self.transformer(tokens, image.flatten(1).T[None], positions, wanted=1)
        return draw(self._refine, cells, self.output_hypernetworks_mlps[0](token), *image.shape[1:])

    def _refine(self, cells: Tensor) -> Tensor:
        """Double the map twice, ``[n, p, d]`` to ``[n, p, 4, 4, d/8]``."""
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, ChannelNorm)
        assert isinstance(second, nn.ConvTranspose2d)
        doubled = nn.functional.gelu(norm.last(double(cells, first)))
        return nn.functional.gelu(double(doubled, second))
