"""SAM's mask decoder, of which one mask a prompt is computed.

Notation: n: prompts; p: cells of the map; d: width; h, w: cells of the main map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lasagna.modules.sam.layers import ChannelNorm, Layers
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam.two_way import TwoWayTransformer


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
        weights = self.output_hypernetworks_mlps[0](token)
        parts = zip(cells.split(1), weights.split(1), strict=True)
        drawn = torch.cat([self._draw(*part) for part in parts])  # [n, p, 4, 4]
        # within a cell, i is the place in the first doubling, j that in the second, each two rows of two columns
        squares = drawn.unflatten(3, (2, 2)).unflatten(2, (2, 2)).unflatten(1, image.shape[1:])
        masks: Tensor = squares.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 6).flatten(1, 3)
        return masks

    def _draw(self, cells: Tensor, weights: Tensor) -> Tensor:
        """Refine the cells and weigh their channels, ``[n, p, d]`` and ``[n, d/8]`` to ``[n, p, 4, 4]``.

        Between the two lie the largest tensors of a mask head, by far, and little work: one prompt's stay in the
        processor's cache, and going backward they are computed again.
        """
        if torch.is_grad_enabled():
            drawn: Tensor = checkpoint(self._weigh, cells, weights, use_reentrant=False, preserve_rng_state=False)
            return drawn
        return self._weigh(cells, weights)

    def _weigh(self, cells: Tensor, weights: Tensor) -> Tensor:
        refined = self._refine(cells)
        # a product that reads and, going backward, writes the channels where they stand, not an einsum that moves them
        drawn: Tensor = (refined.flatten(1, 3) @ weights[..., None]).unflatten(1, refined.shape[1:4])[..., 0]
        return drawn

    def _refine(self, cells: Tensor) -> Tensor:
        """Double the map twice, ``[n, p, d]`` to ``[n, p, 4, 4, d/8]``.

        A transposed convolution of stride 2 and side 2 turns each cell into four by itself, so that both are linear
        layers, and the cells need not be put in their places before one mask is left of the channels.
        """
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, ChannelNorm)
        assert isinstance(second, nn.ConvTranspose2d)
        doubled = nn.functional.gelu(norm.last(_four(cells, first)))
        return nn.functional.gelu(_four(doubled, second))


def _four(cells: Tensor, doubling: nn.ConvTranspose2d) -> Tensor:
    """Turn each cell ``[..., c]`` into two rows of two, ``[..., 4, c']``."""
    weight = doubling.weight.flatten(2).transpose(1, 2)  # [c, 4, c']
    assert doubling.bias is not None
    four: Tensor = nn.functional.linear(cells, weight.flatten(1).T, doubling.bias.repeat(4)).unflatten(-1, (4, -1))
    return four
