"""BCE and Dice losses of each mask, computed chunk by chunk.

Notation: n: masks; H, W: height and width; P: pixels of a mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lasagna.core.geometry import IGNORE_PIXEL

SCALE = 1000.0
"""Divisor of sums of pixels in the Dice loss (LISA, arXiv 2308.00692)."""

EPSILON = 1e-6
"""Added to numerator and denominator of the Dice coefficient (LISA, arXiv 2308.00692)."""

CHUNK_PIXELS = 2**18
"""Pixels that are computed at once, unless a single mask has more."""


def mask_terms(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the BCE and Dice losses of each mask.

    Args:
        logits: Float ``[n, H, W]``.
        targets: uint8 ``[n, H, W]``: 0, 1, or 255 for pixels that do not count.

    Returns:
        Both losses, each ``[n]`` in float32 or wider.
    """
    terms: tuple[Tensor, Tensor] = _MaskTerms.apply(logits.flatten(1), targets.flatten(1))
    return terms


class _MaskTerms(Function):
    """Both losses of logits and targets ``[n, P]``, computed chunk by chunk to save memory."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        sums = [_sums(*chunk) for chunk in _chunks(logits, targets)]
        wide = torch.promote_types(logits.dtype, torch.float32)
        entropy, overlap, mass, count = torch.cat(sums, 1) if sums else logits.new_zeros(4, 0, dtype=wide)
        count = count.clamp(min=1)
        ctx.save_for_backward(logits, targets, overlap, mass, count)
        return entropy / count, 1 - (2 * overlap + EPSILON) / (mass + EPSILON)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_bce: Tensor, of_dice: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        logits, targets, overlap, mass, count = ctx.saved_tensors
        # derivative of the Dice loss by a pixel's probability: `rise` outside of the mask, `rise - fall` inside
        fall = 2 * of_dice / (mass + EPSILON) / SCALE
        rise = of_dice * (2 * overlap + EPSILON) / (mass + EPSILON).square() / SCALE
        gradient = torch.empty_like(logits)
        for part, *chunk in _chunks(gradient, logits, targets, of_bce / count, rise, fall):
            part.copy_(_gradient(*chunk))
        return gradient, None


def _chunks(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Split tensors of ``n`` rows, the first ``[n, P]``, into chunks of a few rows."""
    rows = max(1, CHUNK_PIXELS // max(1, tensors[0].shape[1]))
    return list(zip(*(tensor.split(rows) for tensor in tensors), strict=True)) if len(tensors[0]) else []


def _sums(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum cross entropy, scaled overlap, scaled mass and count over the pixels of each mask, ``[4, n]``."""
    logits, truth, counted = _wide(logits, targets)
    entropy = torch.addcmul(torch.nn.functional.softplus(logits), logits, truth, value=-1)
    probability = logits.sigmoid()
    if counted is not None:
        entropy, probability = entropy * counted, probability * counted
    overlap, mass = (probability * truth).sum(1), probability.sum(1) + truth.sum(1)
    count = torch.full_like(mass, logits.shape[1]) if counted is None else counted.sum(1)
    return torch.stack([entropy.sum(1), overlap / SCALE, mass / SCALE, count])


def _gradient(logits: Tensor, targets: Tensor, of_bce: Tensor, rise: Tensor, fall: Tensor) -> Tensor:
    """Return the gradient of masks' logits, given the gradients of both losses, each ``[n]``."""
    logits, truth, counted = _wide(logits, targets)
    probability = logits.sigmoid()
    slope = torch.addcmul(probability, probability, probability, value=-1)
    of_probability = torch.addcmul(rise[:, None], truth, fall[:, None], value=-1)
    gradient = (probability - truth).mul_(of_bce[:, None]).addcmul_(slope, of_probability)
    return gradient if counted is None else gradient.mul_(counted)


def _wide(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits, truth, and 1 for pixels that count (None if all do), in float32 or wider."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    ignored = targets == IGNORE_PIXEL
    if not ignored.any():
        return logits, targets.to(logits.dtype), None
    return logits, targets.masked_fill(ignored, 0).to(logits.dtype), (~ignored).to(logits.dtype)
