"""Image-text models of transformers, each with its own visual tower."""

from __future__ import annotations

from lasagna.modules.image_text.families import FAMILIES, Family
from lasagna.modules.image_text.language_model import ImageTextModel

__all__ = ["FAMILIES", "Family", "ImageTextModel"]
