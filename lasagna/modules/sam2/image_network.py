"""SAM 2's image encoder: transformers' Hiera with its pyramid, and what prepares its maps for the mask decoder.

Notation: b: images; d: channels of the main map; h, w: cells of the main map.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Sam2VisionConfig, Sam2VisionModel


class ImageNetwork(nn.Module):
    """The maps that SAM 2's image predictor keeps of an image (arXiv 2408.00714, appendix D).

    To the main map the vector is added that says "no memory of other frames"; the finer maps are narrowed by the mask
    decoder's own two layers, as nothing else reads them at their full width.

    Args:
        config: Transformers' settings of the encoder.
        recompute: Whether training computes each block a second time rather than keep what it computed.
    """

    def __init__(self, config: Sam2VisionConfig, recompute: bool) -> None:
        super().__init__()
        width = config.fpn_hidden_size
        self.vision_encoder = Sam2VisionModel(config)
        self.vision_encoder.neck.position_encoding = _NoPositions()
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_s1 = nn.Conv2d(width, width // 4, 1)
        self.conv_s0 = nn.Conv2d(width, width // 8, 1)
        if recompute:
            # transformers' blocks can do it, but their model does not say so
            self.vision_encoder.supports_gradient_checkpointing = True
            self.vision_encoder.gradient_checkpointing_enable({"use_reentrant": False})

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Encode images ``[b, 3, 16h, 16w]`` into ``[b, d, h, w]``, ``[b, d/4, 2h, 2w]`` and ``[b, d/8, 4h, 4w]``."""
        finest, finer, main = self.vision_encoder(pixels).fpn_hidden_states
        return [main + self.no_memory_embedding[0, 0, :, None, None], self.conv_s1(finer), self.conv_s0(finest)]


class _NoPositions(nn.Module):
    # the pyramid would compute positions for each of its maps, at the finest as large as the map, for a video's memory
    def forward(self, *unread: Any) -> Tensor:  # noqa: ANN401
        return torch.empty(0)
