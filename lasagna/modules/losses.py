"""The training loss: cross entropy of the answer, and BCE and Dice losses of the masks.

Notation: m: supervised tokens; v: vocabulary; n: masks; H, W: size at which masks are compared; h', w': the head's
output size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lasagna.core.batch import Batch
from lasagna.core.dialogue import Dialogue
from lasagna.core.geometry import IGNORE_PIXEL
from lasagna.errors import ConfigError
from lasagna.modules.mask_prediction import MaskPrediction
from lasagna.modules.mask_terms import mask_terms
from lasagna.modules.presence_head import PresencePrediction
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
    targets, voids = list[NDArray[np.uint8]](), dict[int, NDArray[np.bool_]]()
    for mask, ignore in (target for found in dialogue.targets for target in found if target is not None):
        targets.append(mask.decode().astype(np.uint8))
        if ignored == "left_out" and ignore is not None:
            if id(ignore) not in voids:
                voids[id(ignore)] = ignore.decode()
            targets[-1][voids[id(ignore)]] = IGNORE_PIXEL
    return targets


@dataclass(frozen=True)
class AssistantOutput:
    """The assistant's output for a batch.

    Args:
        token_logits: Logits at the supervised positions, float ``[m, v]``.
        token_labels: Tokens to predict there, long ``[m]``.
        mask_logits: Logits of the masks, float ``[n, h', w']``; of several masks of a prompt, their union.
        masks: All masks of the prompts, with their scores.
        decision_ids: Token ids of present and absent.
        presence: What the presence head says, if the assistant has one.
    """

    token_logits: Tensor
    token_labels: Tensor
    mask_logits: Tensor
    masks: MaskPrediction | None = None
    decision_ids: tuple[int, int] | None = None
    presence: PresencePrediction | None = None


TrainingLoss = Callable[[AssistantOutput, Batch], dict[str, Tensor]]
"""A loss: from the assistant's output and the batch, it computes the sum "loss", and its parts, which are logged."""


MaskLoss = Callable[[Tensor, Tensor], Any]
"""A loss of masks: from logits, float ``[n, H, W]``, and targets, uint8 ``[n, H, W]`` (0, 1, or 255 for pixels that do
not count), it computes the loss of each mask, ``[n]``, or their mean."""


@dataclass(frozen=True)
class MaskTerm:
    """A further loss of masks in the sum.

    Args:
        loss: The loss, a function or an object that is called.
        weight: Its weight.
    """

    loss: MaskLoss
    weight: float = 1.0


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
        decision: Weight of the tokens that call a name present or absent, among the other tokens of the answer.
        absent: Weight of the decisions that a name is absent, among all decisions.
        mask_losses: Further losses of masks by the names under which they are logged.
        presence: Weight of the binary cross entropy of the presence head, a mean over names, if there is a head.
    """

    ce: float = 1.0
    bce: float = 2.0
    dice: float = 0.5
    resolution: Literal["input", "image"] = "input"
    ignored: Ignored = "left_out"
    mean_over: Literal["step", "batch"] = "step"
    decision: float = 1.0
    absent: float = 1.0
    mask_losses: Mapping[str, MaskTerm] = field(default_factory=dict)
    presence: float = 1.0

    def __call__(self, output: AssistantOutput, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            output: The assistant's output for the batch.
            batch: The batch, with the masks to learn.

        Returns:
            The weighted sum "loss", and its unweighted parts: "ce", "bce", "dice", those of ``mask_losses`` and, with
            a presence head, "presence". Tokens are weighted in "ce".
        """
        groups = {"input": at_input, "image": at_image}[self.resolution]
        terms = [self._mask_terms(*group) for group in groups(output.mask_logits, batch, self.ignored)]
        # without masks, a zero that still depends on the logits, so that every parameter gets a gradient (of zeros)
        zero = output.mask_logits.float().sum() * 0
        weights = {"bce": self.bce, "dice": self.dice} | {name: term.weight for name, term in self.mask_losses.items()}
        losses = {"ce": self._token_loss(output)}
        losses |= {name: torch.cat([part[name] for part in terms]).mean() if terms else zero for name in weights}
        if output.presence is not None:
            losses["presence"], weights["presence"] = _presence_loss(output.presence), self.presence
        if self.mean_over == "step" and (step := batch.step) is not None:
            tokens = step.divisor * len(output.token_labels) / max(1, step.tokens)
            masks = step.divisor * len(output.mask_logits) / max(1, step.masks)
            names = step.divisor * batch.decided_names / max(1, step.names)
            factors = {"ce": tokens, "presence": names}
            losses = {name: scale_gradient(value, factors.get(name, masks)) for name, value in losses.items()}
        total = self.ce * losses["ce"]
        for name, weight in weights.items():
            total = total + weight * losses[name]
        return {"loss": total, **losses}

    def _token_loss(self, output: AssistantOutput) -> Tensor:
        """Return the mean cross entropy of the tokens, each multiplied by its weight."""
        logits, labels = output.token_logits.float(), output.token_labels
        if self.decision == self.absent == 1:
            return nn.functional.cross_entropy(logits, labels)
        if output.decision_ids is None:
            raise ConfigError(
                "decision, absent: the output does not name these tokens; set `decision_ids`, or leave 1.0"
            )
        present, absent = (labels == token for token in output.decision_ids)
        weights = torch.ones_like(logits[:, 0]).masked_fill(present, self.decision)
        weights = weights.masked_fill(absent, self.decision * self.absent)
        return (nn.functional.cross_entropy(logits, labels, reduction="none") * weights).mean()

    def _mask_terms(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the losses of each mask of a group, ``[n]``."""
        bce, dice = mask_terms(logits, targets)
        further = {name: term.loss(logits.float(), targets) for name, term in self.mask_losses.items()}
        for name, value in further.items():
            if not isinstance(value, Tensor):
                raise ConfigError(
                    f"mask_losses.{name}: expected a tensor with a loss for each mask, or their mean, got a "
                    f"{type(value).__name__}; return one"
                )
        # libraries return means
        each = {name: value.expand(len(logits)) if value.ndim == 0 else value for name, value in further.items()}
        for name, value in each.items():
            if value.shape != bce.shape:
                raise ConfigError(
                    f"mask_losses.{name}: expected a loss for each of {len(logits)} masks, or their mean, got a tensor "
                    f"of shape {list(value.shape)}"
                )
        return {"bce": bce, "dice": dice, **each}


def _presence_loss(presence: PresencePrediction) -> Tensor:
    """Return the mean cross entropy of the names, a zero that depends on the head if there are none."""
    logits, present = presence.logits.float(), presence.present
    if not len(logits):
        return logits.sum()
    return nn.functional.binary_cross_entropy_with_logits(logits, present.float())


def scale_gradient(value: Tensor, factor: float) -> Tensor:
    """Return a value whose gradient is multiplied by a factor.

    Args:
        value: The value.
        factor: The factor.
    """
    # a value that is not finite stays so, and its batch can be named
    return value if factor == 1 else value.detach() + factor * (value - value.detach())
