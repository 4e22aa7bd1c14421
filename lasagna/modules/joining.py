"""The three parts, built in the order in which they learn of one another."""

from __future__ import annotations

from collections.abc import Sequence

from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder
from lasagna.modules.shared_tower import NO_MAPS, SharedTower


def build_parts(
    encoder: VisionEncoder, language_model: LanguageModel, mask_head: MaskHead, tokens: Sequence[str]
) -> None:
    """Build the parts of an assistant and load their weights.

    Args:
        encoder: The vision encoder, whose maps the others are built for; a shared tower is the language model's.
        language_model: The language model.
        mask_head: The mask head.
        tokens: Present, absent and image token, then the prompt format's markers.

    Raises:
        ConfigError: If the parts do not fit one another.
        CheckpointError: If weights are missing or do not fit.
    """
    if isinstance(encoder, SharedTower):
        encoder.check(language_model)
        language_model.build(NO_MAPS, tokens)
        encoder.join(language_model)
    else:
        encoder.build()
        language_model.build(encoder.spec, tokens)
    mask_head.build(encoder.spec)
