"""Scores of questions that several things answer, each with a mask of its own."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import DialogueMetric, answered_by_name, entries_by_name, ratio


class MultiTargetIoU(DialogueMetric):
    """CIoU and gIoU over the targets of questions, each of which wants a mask of its own; higher is better, in [0, 1].

    Protocol ``muse`` (Ren et al., PixelLM, CVPR 2024; ``MaverickRen/PixelLM``, ``train_ds.py``, ``ar_validate``):
    targets and answered masks of a question are matched one to one. Targets without a mask and masks without a target
    have the IoU 0, and add to the union. ``ciou`` is the sum of intersections divided by the sum of unions; ``giou`` is
    the sum of IoUs divided by the number of targets or of answered masks, whichever is larger, summed over questions
    (in the script: over images, which is the same unless questions about an image err in both directions).

    The matching maximises the summed IoU; the script minimises losses at random points. Ignored pixels are left out of
    all masks. An answer that has one mask for a name, as most assistants give, has one mask for all targets.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "muse"
    higher_is_better = True
    plot_upper_bound = 1.0
    pixels: Tensor
    iou: Tensor
    targets: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("pixels", 2)
        self.add_sum("iou", dtype=torch.float64)
        self.add_sum("targets")

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the targets of one query; one that is answered in words alone does not count."""
        if not dialogue.kind.masks:
            return
        truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
        kept = None if dialogue.ignore is None else ~dialogue.ignore.decode()
        for name in map(normalise, dialogue.query):
            entry, claim = truth.get(name), answered.get(name)
            masks = (entry.masks or (entry.mask,)) if entry is not None and entry.present else ()
            true = [mask.decode() for mask in masks if mask is not None]
            found = list(claim.masks) if claim is not None and claim.present else []
            self._count([_kept(mask, kept) for mask in true], [_kept(mask, kept) for mask in found])

    def compute(self) -> dict[str, Tensor]:
        """Return cIoU and gIoU."""
        return {
            self.key("ciou"): ratio(self.pixels[0], self.pixels[1]),
            self.key("giou"): ratio(self.iou, self.targets),
        }

    def _count(self, true: list[BoolMask], found: list[BoolMask]) -> None:
        areas = [np.array([np.count_nonzero(mask) for mask in masks], dtype=np.int64) for masks in (true, found)]
        both = np.array([[np.count_nonzero(one & other) for other in found] for one in true], dtype=np.int64)
        both = both.reshape(len(true), len(found))
        iou = _iou(both, areas[0][:, None] + areas[1] - both)
        rows, columns = linear_sum_assignment(-iou)
        shared = int(both[rows, columns].sum())
        union = int(areas[0].sum() + areas[1].sum()) - shared
        self.pixels += torch.tensor([shared, union], device=self.pixels.device)
        self.iou += float(iou[rows, columns].sum())
        self.targets += max(len(true), len(found))


def _kept(mask: BoolMask, kept: BoolMask | None) -> BoolMask:
    return mask if kept is None else mask & kept


def _iou(both: NDArray[np.int64], union: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the IoU; two masks without a pixel that counts have 1, as in the script."""
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)
