"""The training loss: cross entropy of the answer, and BCE and Dice of the masks.

Notation: m: supervised tokens; v: vocabulary; n: masks; H, W: size at which masks are compared; h', w': the head's
output size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lasagna.core.batch import Batch
from lasagna.modules.mask_targets import Ignored, at_image, at_input
from lasagna.modules.mask_terms import mask_terms


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
