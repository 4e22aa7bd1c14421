"""Building the parts of an assistant, each of which learns what the others state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from lasagna.core.name_places import check_names_behind_image
from lasagna.core.query_kind import KINDS
from lasagna.modules.vision_encoders.shared_tower import NO_MAPS, SharedTower

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


def build_parts(assistant: Assistant) -> None:
    """Make the layers of all parts, load their weights, and make those of the assistant itself.

    Args:
        assistant: The assistant; its prompt format becomes the one that its language model is asked in.

    Raises:
        ConfigError: If the parts do not fit one another.
        CheckpointError: If weights are missing or do not fit.
    """
    encoder, language_model = assistant.vision_encoder, assistant.language_model
    assistant.format = language_model.adopt(assistant.format)
    if assistant.presence_head is not None:
        kinds = KINDS | assistant.learned_kinds
        check_names_behind_image(assistant.format, "presence_head", kinds.values())
    tokens = assistant.format.special_tokens
    if isinstance(encoder, SharedTower):
        encoder.check(language_model)
        language_model.build(NO_MAPS, tokens)
        encoder.join(language_model)
    else:
        encoder.build()
        language_model.build(encoder.spec, tokens)
    assistant.mask_head.build(encoder.spec)
    if assistant.comparison is not None:
        assistant.comparison.build(encoder.spec)
    reserved = (*assistant.format.reserved_tokens, *language_model.text_processor.reserved_tokens)
    assistant.format = replace(assistant.format, reserved_tokens=reserved)
    hidden, prompt = language_model.hidden_size, assistant.mask_head.prompt_dim
    assistant.prompt_projection = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, prompt))
    # the last, so that the random weights of the others are the same without it
    if assistant.presence_head is not None:
        assistant.presence_head.build(hidden)
