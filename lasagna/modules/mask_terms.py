"""Binary cross entropy and Dice loss of masks, computed a few masks at a time and with the way back written out.

Masks have the pixels of images, and plain operators would hold half a dozen tensors of that size until the way back. So
only logits and targets are kept; probabilities are computed again, mask by mask, while these are in the processor's
cache.

Notation: n: masks; P: pixels of a mask.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lasagna.core.batch import IGNORE_PIXEL

SCALE, SMALL = 1000.0, 1e-6
"""By what sums of pixels are divided, and what is added to both sides of Dice's fraction (LISA, arXiv 2308.00692)."""

PIXELS = 2**18
"""Pixels that are computed at once, if masks are no larger."""


def mask_terms(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return BCE and Dice loss of each mask, float ``[n]``, in float32 or wider.

    Args:
        logits: Float ``[n, H, W]``.
        targets: uint8 ``[n, H, W]``: 0, 1, or 255 for pixels that do not count.
    """
    terms: tuple[Tensor, Tensor] = _MaskTerms.apply(logits.flatten(1), targets.flatten(1))
    return terms


class _MaskTerms(Function):
    """Both losses of logits and targets ``[n, P]``."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        sums = [_sums(*some) for some in _few(logits, targets)]
        wide = torch.promote_types(logits.dtype, torch.float32)
        surprise, overlap, mass, count = torch.cat(sums, 1) if sums else logits.new_zeros(4, 0, dtype=wide)
        count = count.clamp(min=1)
        ctx.save_for_backward(logits, targets, overlap, mass, count)
        return surprise / count, 1 - (2 * overlap + SMALL) / (mass + SMALL)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_bce: Tensor, of_dice: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        logits, targets, overlap, mass, count = ctx.saved_tensors
        # by how much each loss grows with a pixel's probability: Dice by `rise`, and for pixels of the mask `fall` less
        fall = 2 * of_dice / (mass + SMALL) / SCALE
        rise = of_dice * (2 * overlap + SMALL) / (mass + SMALL).square() / SCALE
        gradient = torch.empty_like(logits)
        parts = _few(gradient, logits, targets, of_bce / count, rise, fall)
        for part, *some in parts:
            part.copy_(_gradient(*some))
        return gradient, None


def _few(*tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Cut tensors of ``n`` rows, the first ``[n, P]``, into a few rows each."""
    rows = max(1, PIXELS // max(1, tensors[0].shape[1]))
    return list(zip(*(tensor.split(rows) for tensor in tensors), strict=True)) if len(tensors[0]) else []


def _sums(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum cross entropy, overlap, mass and count of a few masks' pixels, ``[4, n]``; overlap and mass are scaled."""
    logits, truth, counted = _wide(logits, targets)
    surprise = torch.addcmul(torch.nn.functional.softplus(logits), logits, truth, value=-1)
    probability = logits.sigmoid()
    if counted is not None:
        surprise, probability = surprise * counted, probability * counted
    overlap, mass = (probability * truth).sum(1), probability.sum(1) + truth.sum(1)
    count = torch.full_like(mass, logits.shape[1]) if counted is None else counted.sum(1)
    return torch.stack([surprise.sum(1), overlap / SCALE, mass / SCALE, count])


def _gradient(logits: Tensor, targets: Tensor, of_bce: Tensor, rise: Tensor, fall: Tensor) -> Tensor:
    """Return the gradient of a few masks' logits, given what each loss is worth, ``[n]``."""
    logits, truth, counted = _wide(logits, targets)
    probability = logits.sigmoid()
    slope = torch.addcmul(probability, probability, probability, value=-1)
    of_probability = torch.addcmul(rise[:, None], truth, fall[:, None], value=-1)
    gradient = (probability - truth).mul_(of_bce[:, None]).addcmul_(slope, of_probability)
    return gradient if counted is None else gradient.mul_(counted)


def _wide(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return logits, truth and which pixels count (None if all do) in float32 or wider."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    ignored = targets == IGNORE_PIXEL
    if not ignored.any():
        return logits, targets.to(logits.dtype), None
    return logits, targets.masked_fill(ignored, 0).to(logits.dtype), (~ignored).to(logits.dtype)
