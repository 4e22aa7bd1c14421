"""The training loss: cross entropy of the answer, and BCE and Dice losses of the masks.

Notation: m: supervised tokens; v: vocabulary; n: masks; H, W: size at which masks are compared; h', w': the head's
output size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from lasagna.modules.mask_prediction import MaskPrediction
from lasagna.modules.resampling import resample

Ignored = Literal["left_out", "background"]
"""How ignored pixels count: not at all, or as background of every mask."""

MaskGroup = tuple[Tensor, Tensor]
"""Logits, float ``[n, H, W]``, and targets, uint8 ``[n, H, W]``: 0, 1, or 255 for pixels that do not count."""


def at_input(logits: Tensor, batch: Batch, ignored: Ignored) -> Iterator[MaskGroup]:
    """Yield logits and targets at the size of the vision encoder's input; padding never counts.

    Args:
        logits: Logits of the batch's masks, float ``[n, h', w']``; resized to the input's size.
        batch: The batch.
        ignored: How ignored pixels count.

    Yields:
        The one group of all masks; nothing if there are none.
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
    """Yield logits and targets image by image, at the image's own size, as the original does.

    Parts of an image that the vision encoder's input does not show never count.

    Args:
        logits: Logits of the batch's masks, float ``[n, h', w']``, which cover the padded input.
        batch: The batch; its samples hold the masks at the images' own sizes.
        ignored: How ignored pixels count.

    Yields:
        One group for each image with masks.
    """
    images = batch.image_index[batch.mask_rows]
    for image in images.unique().tolist():
        dialogues = [sample.dialogue for sample in batch.samples if sample.image == image]
        targets = np.stack([target for dialogue in dialogues for target in _own_targets(dialogue, ignored)])
        geometry = batch.geometries[image]
        shown = np.ascontiguousarray(targets[:, *geometry.shown])
        yield resample(logits[images == image], geometry), torch.from_numpy(shown).to(logits.device)


def _own_targets(dialogue: Dialogue, ignored: Ignored) -> list[NDArray[np.uint8]]:
    """Return the target masks of a dialogue at the image's own size, each uint8 ``[h, w]``."""
    masks = [entry.mask.decode() for entry in dialogue.entries if entry.present and entry.mask is not None]
    targets = [mask.astype(np.uint8) for mask in masks]
    if targets and ignored == "left_out" and dialogue.ignore is not None:
        void = dialogue.ignore.decode()
        for target in targets:
            target[void] = IGNORE_PIXEL
    return targets


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


@dataclass(frozen=True)
class AssistantOutput:
    """The assistant's output for a batch.

    Args:
        token_logits: Logits at the supervised positions, float ``[m, v]``.
        token_labels: Tokens to predict there, long ``[m]``.
        mask_logits: Logits of the masks, float ``[n, h', w']``; of several masks of a prompt, their union.
        masks: All masks of the prompts, with their scores.
    """

    token_logits: Tensor
    token_labels: Tensor
    mask_logits: Tensor
    masks: MaskPrediction | None = None


TrainingLoss = Callable[[AssistantOutput, Batch], dict[str, Tensor]]
"""A loss: from the assistant's output and the batch, it computes the sum "loss", and its parts, which are logged."""


@dataclass(frozen=True)
class SegmentationLoss:
    """Weighted sum of cross entropy, BCE and Dice losses (arXiv 2404.08506, section 3; LISA, arXiv 2308.00692).

    The cross entropy is a mean over tokens, both mask losses are means over masks, and 0 without masks. LaSagnA's
    released code compares masks at the images' own resolution, with ignored pixels as background, and takes the means
    of each batch by itself.

    Args:
        ce: Weight of the cross entropy.
        bce: Weight of the binary cross entropy.
        dice: Weight of the Dice loss.
        resolution: Size at which masks are compared: "input", that of the vision encoder's input, or "image", that of
            each image, which costs more for large images.
        ignored: Whether ignored pixels are "left_out" of the mask losses or count as "background".
        mean_over: Whether gradients are those of means over all tokens and masks of an optimiser "step", so that they
            depend neither on ``accumulate_grad_batches`` nor on the number of processes, or are averages of those of
            each "batch", where a mask in a batch of few masks counts more than others. Values are those of the batch.
    """

    ce: float = 1.0
    bce: float = 2.0
    dice: float = 0.5
    resolution: Literal["input", "image"] = "input"
    ignored: Ignored = "left_out"
    mean_over: Literal["step", "batch"] = "step"

    def __call__(self, output: AssistantOutput, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            output: The assistant's output for the batch.
            batch: The batch, with the masks to learn.

        Returns:
            The weighted sum "loss", and its unweighted parts "ce", "bce" and "dice".
        """
        ce = nn.functional.cross_entropy(output.token_logits.float(), output.token_labels)
        groups = {"input": at_input, "image": at_image}[self.resolution]
        terms = [mask_terms(*group) for group in groups(output.mask_logits, batch, self.ignored)]
        # without masks, a zero that still depends on the logits, so that every parameter gets a gradient (of zeros)
        zero = output.mask_logits.float().sum() * 0
        bce, dice = (torch.cat(parts).mean() for parts in zip(*terms, strict=True)) if terms else (zero, zero)
        if self.mean_over == "step" and (step := batch.step) is not None:
            ce = scale_gradient(ce, step.divisor * len(output.token_labels) / max(1, step.tokens))
            masks = step.divisor * len(output.mask_logits) / max(1, step.masks)
            bce, dice = scale_gradient(bce, masks), scale_gradient(dice, masks)
        return {"loss": self.ce * ce + self.bce * bce + self.dice * dice, "ce": ce, "bce": bce, "dice": dice}


def scale_gradient(value: Tensor, factor: float) -> Tensor:
    """Return a value whose gradient is multiplied by a factor.

    Args:
        value: The value.
        factor: The factor.
    """
    # a value that is not finite stays so, and its batch can be named
    return value if factor == 1 else value.detach() + factor * (value - value.detach())
