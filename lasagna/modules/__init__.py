"""The parts: vision encoders, language models, mask heads, and the assistant that joins them."""

from __future__ import annotations

from lasagna.modules.assistant import Assistant
from lasagna.modules.base import EncodedImages, FeatureSpec, LanguageModel, MaskHead, VisionEncoder
from lasagna.modules.language_models.lora import LoRA
from lasagna.modules.losses import AssistantOutput, SegmentationLoss
from lasagna.modules.tiny import TinyLanguageModel, TinyMaskHead, TinyVisionEncoder

__all__ = [
    "Assistant",
    "AssistantOutput",
    "EncodedImages",
    "FeatureSpec",
    "LanguageModel",
    "LoRA",
    "MaskHead",
    "SegmentationLoss",
    "TinyLanguageModel",
    "TinyMaskHead",
    "TinyVisionEncoder",
    "VisionEncoder",
]
