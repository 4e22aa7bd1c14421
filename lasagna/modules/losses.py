"""The training loss: cross entropy of the answer, and BCE and Dice of the masks.

Notation: m: supervised tokens; v: vocabulary; n: masks; H, W: size at which masks are compared; h', w': the head's
output size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from lasagna.core.batch import Batch
from lasagna.core.dialogue import Dialogue
from lasagna.core.geometry import IGNORE_PIXEL
from lasagna.modules.resampling import resample

Ignored = Literal["left_out", "background"]
"""What becomes of ignored pixels: they count nowhere, or they count as outside of every mask."""

MaskGroup = tuple[Tensor, Tensor]
"""Logits, float ``[n, H, W]``, and targets, uint8 ``[n, H, W]``: 0, 1, or 255 for pixels that do not count."""


def at_input(logits: Tensor, batch: Batch, ignored: Ignored) -> Iterator[MaskGroup]:
    """Compare all masks in the vision encoder's geometry; its padding never counts.

    Args:
        logits: Logits of the batch's masks, float ``[n, h', w']``, resized to the input's size.
        batch: The batch.
        ignored: What becomes of ignored pixels.
    """
    targets = batch.mask_targets
    if len(targets) == 0:
        return
    if ignored == "background":
        targets = targets.clone()
        for target, image in zip(targets, batch.image_index[batch.mask_rows].tolist(), strict=True):
            height, width = batch.geometries[image].resized
            target[:height, :width].masked_fill_(target[:height, :width] == IGNORE_PIXEL, 0)
    size = (targets.shape[1], targets.shape[2])
    yield torch.nn.functional.interpolate(logits[:, None].float(), size=size, mode="bilinear")[:, 0], targets


def at_image(logits: Tensor, batch: Batch, ignored: Ignored) -> Iterator[MaskGroup]:
    """Compare the masks of one image after the other in the image's own size, as the original does.

    What the vision encoder's input does not show of an image never counts.

    Args:
        logits: Logits of the batch's masks, float ``[n, h', w']``, which cover the padded input.
        batch: The batch; its samples hold the masks in the images' own sizes.
        ignored: What becomes of ignored pixels.
    """
    images = batch.image_index[batch.mask_rows]
    for image in images.unique().tolist():
        dialogues = [sample.dialogue for sample in batch.samples if sample.image == image]
        targets = np.stack([target for dialogue in dialogues for target in _own_targets(dialogue, ignored)])
        geometry = batch.geometries[image]
        shown = np.ascontiguousarray(targets[:, *geometry.shown])
        yield resample(logits[images == image], geometry), torch.from_numpy(shown).to(logits.device)


def _own_targets(dialogue: Dialogue, ignored: Ignored) -> list[NDArray[np.uint8]]:
    """Return the masks of a dialogue in the image's own size, each uint8 ``[h, w]``."""
    masks = [entry.mask.decode() for entry in dialogue.entries if entry.present and entry.mask is not None]
    targets = [mask.astype(np.uint8) for mask in masks]
    if targets and ignored == "left_out" and dialogue.ignore is not None:
        void = dialogue.ignore.decode()
        for target in targets:
            target[void] = IGNORE_PIXEL
    return targets


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


@dataclass(frozen=True)
class AssistantOutput:
    """What the assistant computes for a batch.

    Args:
        token_logits: Logits at the supervised positions, float ``[m, v]``.
        token_labels: Tokens to predict there, long ``[m]``.
        mask_logits: Logits of the masks, float ``[n, h', w']``.
    """

    token_logits: Tensor
    token_labels: Tensor
    mask_logits: Tensor


@dataclass(frozen=True)
class SegmentationLoss:
    """Weighted sum of cross entropy, mask BCE and mask Dice (arXiv 2404.08506, section 3; LISA, arXiv 2308.00692).

    Both mask losses are means over the batch's masks, 0 without any. LaSagnA's released code compares masks at the
    images' own resolution, with ignored pixels as background.

    Args:
        ce: Weight of the cross entropy.
        bce: Weight of the binary cross entropy.
        dice: Weight of the Dice loss.
        resolution: Where masks are compared: "input", the size of the vision encoder's input, or "image", the size of
            each image, which costs more for large images.
        ignored: Whether ignored pixels are "left_out" of the mask losses or count as "background".
    """

    ce: float = 1.0
    bce: float = 2.0
    dice: float = 0.5
    resolution: Literal["input", "image"] = "input"
    ignored: Ignored = "left_out"

    def __call__(self, output: AssistantOutput, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            output: What the assistant computed for the batch.
            batch: The batch, with the masks to learn.

        Returns:
            The weighted sum "loss", and its parts "ce", "bce" and "dice" without their weights.
        """
        ce = nn.functional.cross_entropy(output.token_logits.float(), output.token_labels)
        groups = {"input": at_input, "image": at_image}[self.resolution]
        terms = [mask_terms(*group) for group in groups(output.mask_logits, batch, self.ignored)]
        # without masks, a zero that still depends on the logits, so that every parameter gets its (zero) gradient
        nothing = output.mask_logits.float().sum() * 0
        bce, dice = (torch.cat(parts).mean() for parts in zip(*terms, strict=True)) if terms else (nothing, nothing)
        return {"loss": self.ce * ce + self.bce * bce + self.dice * dice, "ce": ce, "bce": bce, "dice": dice}
