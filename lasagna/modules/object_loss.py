"""The loss of several masks for each prompt: each object learns from the mask that fits it best.

Notation: k: masks of a prompt; o: objects of a prompt; P: pixels of the head's output; H, W: size of the vision
encoder's input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, interpolate, softplus

from lasagna.core.batch import Batch
from lasagna.core.geometry import IGNORE_PIXEL
from lasagna.core.packed_masks import mask_targets
from lasagna.modules.losses import AssistantOutput, SegmentationLoss, scale_gradient
from lasagna.modules.mask_prediction import SURE, MaskPrediction
from lasagna.modules.mask_terms import mask_terms


@dataclass(frozen=True)
class ObjectLoss(SegmentationLoss):
    """The ordinary losses, and those of the objects where a query asks for them and the head draws several masks.

    The objects of a name are assigned to its masks so that the weighted costs are least (Hungarian matching; DETR,
    arXiv 2005.12872). Assigned masks learn their object by BCE and Dice losses, means over objects; scores learn
    whether their mask is assigned, a mean over names. Gradients are those of means over the optimiser step or the
    batch, as ``mean_over`` says. Ignored pixels and those of crowds do not count.

    Args:
        object_bce: Weight of the binary cross entropy of assigned masks.
        object_dice: Weight of their Dice loss.
        object_score: Weight of the cross entropy of the scores.
    """

    object_bce: float = 5.0
    object_dice: float = 2.0
    object_score: float = 1.0

    def __call__(self, output: AssistantOutput, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            output: The assistant's output for the batch.
            batch: The batch; its samples hold the objects.

        Returns:
            The weighted sum "loss", and its unweighted parts: those of ``SegmentationLoss``, "object_bce",
            "object_dice" and "object_score".
        """
        losses = super().__call__(output, batch)
        if output.masks is None or output.masks.logits.shape[1] == 1:
            return losses
        means = self._means(output.masks, list(object_targets(batch)), batch)
        own = sum(getattr(self, name) * mean for name, mean in means.items())
        return losses | {"loss": losses["loss"] + own} | means

    def _means(
        self, prediction: MaskPrediction, asked: Sequence[tuple[int, Tensor]], batch: Batch
    ) -> dict[str, Tensor]:
        """Return the losses of the objects of some prompts, each with its place."""
        logits, scores = prediction.logits.float(), prediction.scores.float()
        asked = [(place, _largest(truth, logits.shape[1])) for place, truth in asked]
        if not asked:
            zero = (logits.sum() + scores.sum()) * 0
            return {"object_bce": zero, "object_dice": zero, "object_score": zero}
        pairs = [assigned(self._costs(logits[place].detach(), scores[place].detach(), truth)) for place, truth in asked]
        # all at once, since the gradient of each index is a tensor of the size of all masks
        places = torch.tensor([place for (place, _), (masks, _) in zip(asked, pairs, strict=True) for _ in masks])
        masks = torch.cat([masks for masks, _ in pairs])
        targets = torch.cat([truth[objects] for (_, truth), (_, objects) in zip(asked, pairs, strict=True)])
        size = (targets.shape[1], targets.shape[2])
        drawn = interpolate(logits[places, masks][:, None], size=size, mode="bilinear")[:, 0]
        bce, dice = mask_terms(drawn, targets)
        wanted = torch.zeros_like(scores)
        wanted[places, masks] = 1
        rows = torch.tensor([place for place, _ in asked])
        score = binary_cross_entropy(scores[rows].clamp(SURE, 1 - SURE), wanted[rows])
        objects, names = 1.0, 1.0
        if self.mean_over == "step" and (step := batch.step) is not None:
            objects = step.divisor * len(places) / max(1, step.objects)
            names = step.divisor * len(rows) / max(1, step.apart)
        return {
            "object_bce": scale_gradient(bce.mean(), objects),
            "object_dice": scale_gradient(dice.mean(), objects),
            "object_score": scale_gradient(score, names),
        }

    def _costs(self, logits: Tensor, scores: Tensor, targets: Tensor) -> Tensor:
        """Return the weighted costs of each mask for each object ``[k, o]``, at the head's resolution."""
        size = (logits.shape[1], logits.shape[2])
        # all objects ignore the same pixels, except for the one of an object that is too small
        counted = _area((targets[:1] != IGNORE_PIXEL).float(), size)  # [1, P]
        truth = _area((targets == 1).float(), size)  # [o, P]
        logit = logits.flatten(1)
        chance = logit.sigmoid() * counted
        bce = ((softplus(logit) * counted).sum(1)[:, None] - logit @ truth.T) / counted.sum().clamp(min=1)
        dice = 1 - (2 * chance @ truth.T + 1) / (chance.sum(1)[:, None] + truth.sum(1) + 1)
        return self.object_bce * bce + self.object_dice * dice - self.object_score * scores[:, None]


def assigned(costs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masks and the objects assigned to each other at the least cost, both long ``[min(k, o)]``.

    Args:
        costs: Costs of each mask for each object, float ``[k, o]``.
    """
    masks, objects = linear_sum_assignment(costs.cpu().numpy())
    return torch.from_numpy(masks), torch.from_numpy(objects)


def _largest(targets: Tensor, most: int) -> Tensor:
    """Return the largest objects of ``[o, H, W]``, in their order; ``ManyObjects`` counts the others."""
    if len(targets) <= most:
        return targets
    return targets[(targets == 1).flatten(1).sum(1).argsort(descending=True, stable=True)[:most].sort().values]


def _area(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    return interpolate(pixels[:, None], size=size, mode="area").flatten(1)


def object_targets(batch: Batch) -> Iterator[tuple[int, Tensor]]:
    """Yield the objects of each mask of a batch whose query asks for a set of objects by one token.

    Args:
        batch: The batch.

    Yields:
        Position of the mask among those of the batch, and its objects at the size of the encoder's input, uint8
        ``[o, H, W]``: 0, 1, or 255 for pixels that do not count. Objects that the input does not show are left out; one
        that is too small for it has one pixel.
    """
    if not batch.objects or not batch.object_masks:
        return
    targets = mask_targets(batch.objects)
    visible: list[bool] = (targets == 1).flatten(1).any(1).tolist()
    for place, ranks in groupby(range(len(visible)), batch.object_masks.__getitem__):
        if kept := [rank for rank in ranks if visible[rank]]:
            yield place, targets[kept]
