"""Segment Anything Model 2 for images (arXiv 2408.00714): its Hiera encoder and its mask decoder."""

from __future__ import annotations

from lasagna.modules.sam2.mask_head import Sam2MaskHead
from lasagna.modules.sam2.sizes import Sam2Size
from lasagna.modules.sam2.vision_encoder import Sam2VisionEncoder

__all__ = ["Sam2MaskHead", "Sam2Size", "Sam2VisionEncoder"]
