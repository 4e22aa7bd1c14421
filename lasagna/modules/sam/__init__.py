"""The Segment Anything Model's image encoder and mask decoder (arXiv 2304.02643), written anew in plain torch."""

from __future__ import annotations

from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import SamHeadSize, SamSize
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

__all__ = ["SamHeadSize", "SamMaskHead", "SamSize", "SamVisionEncoder"]
