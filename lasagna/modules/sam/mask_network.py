"""SAM's mask decoder, of which one mask a prompt is computed.

Notation: n: prompts; p: cells of the map; d: width; h, w: cells of the main map.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lasagna.modules.sam.layers import ChannelNorm, Layers
from lasagna.modules.sam.sizes import SamHeadSize
from lasagna.modules.sam.two_way import TwoWayTransformer
from lasagna.modules.sam.upscaling import double, draw


class MaskDecoder(nn.Module):
    """Two-way transformer, upscaling, and a mask token that weighs the channels (arXiv 2304.02643, appendix A).

    It is what SAM's and SAM 2's have in common; that of SAM 2 takes up finer maps (arXiv 2408.00714, appendix D).

    Args:
        size: Sizes of the mask decoder.
        recompute: Whether training computes the two-way transformer a second time rather than keep what it computed;
            the upscaling never keeps anything.
    """

    def __init__(self, size: SamHeadSize, recompute: bool = False) -> None:
        super().__init__()
        width = size.prompt_dim
        self.recompute = recompute
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
        self.output_hypernetworks_mlps = nn.ModuleList([Layers(width, width, width // 8, 3)])

    @property
    def tokens_before(self) -> tuple[nn.Embedding, ...]:
        """Tokens that stand before those of masks; they are there since all tokens look at each other."""
        return (self.iou_token,)

    def forward(self, image: Tensor, positions: Tensor, prompts: Tensor, finer: Sequence[Tensor] = ()) -> Tensor:
        """Draw one mask for each of one image's prompts.

        Args:
            image: The image's main map, float ``[d, h, w]``.
            positions: Positions of its cells, float ``[p, d]``.
            prompts: Float ``[n, d]``.
            finer: No maps, or two finer ones in the order of doubled cells, float ``[p, 4, d/4]`` and
                ``[p, 4, 4, d/8]``.

        Returns:
            Mask logits, float ``[n, 4h, 4w]``.
        """
        before = torch.cat([token.weight for token in self.tokens_before])
        own = torch.cat([before, self.mask_tokens.weight]).to(prompts)
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts[:, None]], 1)  # [n, t, d]
        token, cells = self._transform(tokens, image.flatten(1).T[None], positions, len(before))
        weights = self.output_hypernetworks_mlps[0](token)
        return draw(lambda some: self._refine(some, finer), cells, weights, *image.shape[1:])

    def _transform(self, *arguments: Tensor | int) -> tuple[Tensor, Tensor]:
        if self.recompute and torch.is_grad_enabled():
            again: tuple[Tensor, Tensor] = checkpoint(self.transformer, *arguments, use_reentrant=False)
            return again
        transformed: tuple[Tensor, Tensor] = self.transformer(*arguments)
        return transformed

    def _refine(self, cells: Tensor, finer: Sequence[Tensor]) -> Tensor:
        """Double the map twice, ``[n, p, d]`` to ``[n, p, 4, 4, d/8]``, and take up a finer map, if any, each time."""
        first, norm, _, second, _ = self.output_upscaling
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(norm, ChannelNorm)
        assert isinstance(second, nn.ConvTranspose2d)
        once = double(cells, first)
        once = nn.functional.gelu(norm.last(once + finer[0] if finer else once))
        twice = double(once, second)
        return nn.functional.gelu(twice + finer[1] if finer else twice)


class MaskNetwork(MaskDecoder):
    """SAM's own.

    The predictor of mask quality and the layers of the second and later masks are there for their names alone; they
    are not computed and not trained.

    Args:
        size: Sizes of the mask decoder.
        recompute: As for ``MaskDecoder``.
    """

    def __init__(self, size: SamHeadSize, recompute: bool = False) -> None:
        super().__init__(size, recompute)
        width = size.prompt_dim
        others = [Layers(width, width, width // 8, 3).requires_grad_(False) for _ in range(size.masks - 1)]
        self.output_hypernetworks_mlps.extend(others)
        self.iou_prediction_head = Layers(width, size.iou_dim, size.masks, size.iou_depth).requires_grad_(False)
