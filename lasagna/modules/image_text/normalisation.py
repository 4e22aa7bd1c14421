"""Mean and standard deviation that a tower's images are normalised with, as its model's own processor has them."""

from __future__ import annotations

from typing import Any

from transformers import ImageProcessingMixin

from lasagna.errors import ConfigError

Colour = tuple[float, float, float]

MEAN: Colour = (0.48145466, 0.4578275, 0.40821073)
"""CLIP's mean, where the model names no other."""

DEVIATION: Colour = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's standard deviation, where the model names no other."""


def tower_normalisation(model: str | dict[str, Any], download: bool) -> tuple[Colour, Colour]:
    """Return mean and standard deviation of each channel, for values in [0, 1].

    Args:
        model: A folder, a name on the hub, or settings, which have no processor.
        download: Whether the network may be used.

    Raises:
        ConfigError: If the processor's file cannot be read.
    """
    settings = {} if isinstance(model, dict) else _processor(model, download)
    if not settings.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return _colour(settings.get("image_mean") or MEAN), _colour(settings.get("image_std") or DEVIATION)


def _processor(model: str, download: bool) -> dict[str, Any]:
    try:
        settings, _ = ImageProcessingMixin.get_image_processor_dict(model, local_files_only=not download)
    except (OSError, ValueError) as error:
        if "valid JSON" in str(error):
            raise ConfigError(f"model: the image processor of {model!r} cannot be read; fetch it again") from error
        return {}  # a model without one
    return dict(settings)


def _colour(values: Any) -> Colour:  # noqa: ANN401
    red, green, blue = map(float, values)
    return red, green, blue
