"""The training loss: cross entropy of the answer, and BCE and Dice of the masks.

Notation: m: supervised tokens; v: vocabulary; n: masks; H, W: the encoder's input size; h', w': the head's output size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lasagna.batch import IGNORE_PIXEL


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

    Pixels with target 255 count in neither mask loss. Both mask losses are means over the batch's masks, 0 without any.

    Args:
        ce: Weight of the cross entropy.
        bce: Weight of the binary cross entropy.
        dice: Weight of the Dice loss.
    """

    ce: float = 1.0
    bce: float = 2.0
    dice: float = 0.5

    def __call__(self, output: AssistantOutput, mask_targets: Tensor) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            output: What the assistant computed.
            mask_targets: Masks to learn, uint8 ``[n, H, W]``: 0, 1, or 255 for ignored.

        Returns:
            The weighted sum "loss", and its parts "ce", "bce" and "dice" without their weights.
        """
        ce = nn.functional.cross_entropy(output.token_logits.float(), output.token_labels)
        bce, dice = mask_losses(output.mask_logits, mask_targets)
        return {"loss": self.ce * ce + self.bce * bce + self.dice * dice, "ce": ce, "bce": bce, "dice": dice}


def mask_losses(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return BCE and Dice loss of masks, each the mean over masks.

    Args:
        logits: Float ``[n, h', w']``, resized to the targets' size.
        targets: uint8 ``[n, H, W]``: 0, 1, or 255 for ignored.
    """
    if len(targets) == 0:
        return logits.sum() * 0, logits.sum() * 0
    logits = nn.functional.interpolate(logits[:, None].float(), size=targets.shape[-2:], mode="bilinear")[:, 0]
    counted = (targets != IGNORE_PIXEL).flatten(1).float()
    truth = (targets == 1).flatten(1).float()
    pixels = nn.functional.binary_cross_entropy_with_logits(logits.flatten(1), truth, reduction="none")
    bce = (pixels * counted).sum(1) / counted.sum(1).clamp(min=1)
    return bce.mean(), _dice(torch.sigmoid(logits).flatten(1) * counted, truth).mean()


def _dice(probability: Tensor, truth: Tensor, scale: float = 1000.0, small: float = 1e-6) -> Tensor:
    overlap = (probability / scale * truth).sum(1)
    total = (probability / scale).sum(1) + (truth / scale).sum(1)
    return 1 - (2 * overlap + small) / (total + small)
