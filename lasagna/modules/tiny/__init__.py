"""Parts small enough to train in minutes on two cores, with weights that come inside the package."""

from __future__ import annotations

from lasagna.modules.tiny.language_model import TinyLanguageModel
from lasagna.modules.tiny.mask_head import TinyMaskHead
from lasagna.modules.tiny.vision_encoder import TinyVisionEncoder

__all__ = ["TinyLanguageModel", "TinyMaskHead", "TinyVisionEncoder"]
