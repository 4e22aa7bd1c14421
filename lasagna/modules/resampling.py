"""Mask logits at an image's own size as two matrix products, which go backward several times as fast as resizing twice.

Notation: n: masks; h', w': size of the logits; h, w: size of the image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lasagna.batch import Geometry


def resample(logits: Tensor, geometry: Geometry) -> Tensor:
    """Take mask logits to the image's own size, as ``lasagna.batch.restore_logits`` does up to rounding.

    Resizing to the padded input, cutting the padding off and resizing to the image are linear, and each axis is by
    itself; so the three are one matrix for each axis. What the input does not show is left out.

    Args:
        logits: Float ``[n, h', w']`` that cover the padded input.
        geometry: How the image was fitted.

    Returns:
        Float32 ``[n, h, w]`` of the part of the image that the input shows, which is all of it as a rule.
    """
    sizes = zip(logits.shape[1:], geometry.padded, geometry.resized, geometry.shown_size, strict=True)
    with torch.autocast(logits.device.type, enabled=False):  # half precision would blur the places of the pixels
        down, across = (_matrix(*size, logits.device) for size in sizes)
        return down @ logits.float() @ across.T


def _matrix(source: int, padded: int, resized: int, shown: int, device: torch.device) -> Tensor:
    """Return what turns a line of ``source`` values into one of ``shown`` values, ``[shown, source]``."""
    line = torch.eye(source, device=device)[None]
    whole = torch.nn.functional.interpolate(line, size=padded, mode="linear")
    return torch.nn.functional.interpolate(whole[..., :resized], size=shown, mode="linear")[0].T
