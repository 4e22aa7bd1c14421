"""What the config of an image-text model says about settings that cannot be met, before any weight is read."""

from __future__ import annotations

from typing import Any

from lasagna.errors import ConfigError
from lasagna.modules.image_text.families import family_of
from lasagna.modules.image_text.towers import patch_side


def check_config(config: Any, image_size: int, max_length: int) -> None:  # noqa: ANN401
    """Check that a model can be read here, and that images and rows fit it.

    Args:
        config: The model's config.
        image_size: Height and width of the tower's input in pixels, for families that take any.
        max_length: Longest row of tokens, the image's included.

    Raises:
        ConfigError: If the family is unknown, its tower's patches are no grid, or a size does not fit.
    """
    family = family_of(config)
    family.tower.check(config)
    _check_side(config, image_size)
    tokens = family.image_tokens(config, image_size)
    if max_length <= tokens:
        raise ConfigError(f"max_length: {max_length} leaves no room beside the image's {tokens} tokens; take more")
    window = getattr(config.get_text_config(), "sliding_window", None) if family.prefix else None
    if window is not None and max_length > window:
        raise ConfigError(
            f"max_length: layers of this model look back {window} tokens, got {max_length}; take at most that"
        )


def _check_side(config: Any, image_size: int) -> None:  # noqa: ANN401
    family = family_of(config)
    side, unit = family.input_side(config, image_size), family.unit(config)
    # a tower of one size leaves out what is too little for a patch, as convolutions do
    used = side if family.side(config) is None else side // patch_side(config) * patch_side(config)
    if used < unit or used % unit:
        raise ConfigError(f"image_size: {side} is not a multiple of {unit}, the pixels of an image token")
