"""How well the mask of a phrase fits, and whether phrases that fit nothing are recognised.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lasagna.core.dialogue import Answer, Decoding, Dialogue
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import (
    DialogueMetric,
    answered_by_name,
    answered_mask,
    entries_by_name,
    image_size,
    ratio,
)


@dataclass(frozen=True)
class Overlap:
    """How a true and an answered mask lie on each other; ignored pixels are left out of both.

    Args:
        intersection: Pixels in both.
        union: Pixels in at least one.
        answered: Whether the answered mask has any pixel.
        target: Whether the phrase fits something.
    """

    intersection: int
    union: int
    answered: bool
    target: bool


def overlap(truth: BoolMask, claim: BoolMask, ignore: BoolMask | None, target: bool) -> Overlap:
    """Compare one phrase's true mask with the answered one.

    Args:
        truth: Bool ``[H, W]``, empty if the phrase fits nothing.
        claim: Bool ``[H, W]``, empty if nothing was answered.
        ignore: Pixels that count nowhere, bool ``[H, W]``, or None if all count.
        target: Whether the phrase fits something.
    """
    if ignore is not None:
        truth, claim = truth & ~ignore, claim & ~ignore
    intersection, area = np.count_nonzero(truth & claim), np.count_nonzero(claim)
    union = np.count_nonzero(truth) + area - intersection
    return Overlap(int(intersection), int(union), answered=bool(area), target=target)


def grefcoco_iou(pair: Overlap) -> float:
    """IoU of one phrase; one that fits nothing has 1 if answered with nothing, else 0."""
    if not pair.target:
        return float(not pair.answered)
    return pair.intersection / pair.union if pair.union else 0.0


def lisa_iou(pair: Overlap) -> float:
    """IoU of one phrase; 1 if neither mask has a pixel."""
    return pair.intersection / pair.union if pair.union else 1.0


class PhraseIoU(DialogueMetric):
    """Sums over phrases from which the referring scores are made; a subclass says which, and by which rule.

    Args:
        decoding: Which answers it is for.
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    pixels: Tensor
    iou: Tensor
    right: Tensor
    phrases: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("pixels", 2)
        self.add_sum("iou", 2, dtype=torch.float32)
        self.add_sum("right", 2)
        self.add_sum("phrases", 2)

    @abstractmethod
    def phrase_iou(self, pair: Overlap) -> float:
        """Return the IoU of one phrase, in [0, 1]."""

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the phrases of one query.

        Raises:
            ValueError: If masks differ in size.
        """
        truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
        size = image_size(dialogue, answer) or (0, 0)
        ignore = None if dialogue.ignore is None else dialogue.ignore.decode()
        for name in map(normalise, dialogue.query):
            entry, nothing = truth.get(name), np.zeros(size, dtype=bool)
            masks = [None if entry is None or entry.mask is None else entry.mask.decode()]
            masks += [answered_mask(answered.get(name), size)]
            target, claim = (nothing if mask is None else mask for mask in masks)
            self._count(overlap(target, claim, ignore, target=entry is not None and entry.present))

    def _count(self, pair: Overlap) -> None:
        kind = int(pair.target)
        self.pixels += torch.tensor([pair.intersection, pair.union], device=self.pixels.device)
        self.iou[kind] += self.phrase_iou(pair)
        self.right[kind] += int(pair.answered == pair.target)
        self.phrases[kind] += 1

    def compute(self) -> dict[str, Tensor]:
        """Return cIoU and gIoU."""
        return {
            self.key("ciou"): ratio(self.pixels[0], self.pixels[1]),
            self.key("giou"): ratio(self.iou.sum(), self.phrases.sum()),
        }


class ReferringIoU(PhraseIoU):
    """cIoU, gIoU, N-acc and T-acc of phrases that fit none, one or many things; higher is better, in [0, 1].

    Protocol ``grefcoco`` (Liu et al., GRES, arXiv 2306.00968, section 3; and its evaluation code):

    - cIoU: intersections summed over all phrases by unions summed likewise; a mask answered to a phrase that fits
      nothing adds to the union.
    - gIoU: mean over phrases of the IoU; a phrase that fits nothing has 1 if answered with nothing, else 0.
    - ``giou/grefcoco/targets``: the same over the phrases that fit something alone, as in data sets without others.
    - N-acc and T-acc: share of the phrases that fit nothing (something) answered with nothing (something). An answer
      is nothing if it says absent, is missing, or its mask has no pixel.

    Ignored pixels are left out of all masks first.

    Args:
        decoding: Which answers it is for.
    """

    protocol = "grefcoco"

    def phrase_iou(self, pair: Overlap) -> float:
        """Return the IoU of one phrase, in [0, 1]."""
        return grefcoco_iou(pair)

    def compute(self) -> dict[str, Tensor]:
        """Return cIoU, gIoU, gIoU of targets, N-acc and T-acc."""
        n_acc, t_acc = ratio(self.right, self.phrases)
        more = {"n_acc": n_acc, "t_acc": t_acc}
        targets = {self.key("giou", "targets"): ratio(self.iou[1], self.phrases[1])}
        return super().compute() | targets | {self.key(quantity): score for quantity, score in more.items()}


class ReasoningIoU(PhraseIoU):
    """CIoU and gIoU of descriptions that have one mask each; higher is better, in [0, 1].

    Protocol ``lisa`` (Lai et al., LISA, arXiv 2308.00692, section 4.1; and its evaluation code): cIoU is the sum of
    intersections by the sum of unions, gIoU the mean of the IoU over descriptions, where an empty mask answered to an
    empty truth has 1. Ignored pixels are left out. LISA's script gives the model the mask token (see
    ``TeacherForcedIoU``); here the assistant decides itself, and an absent answer is an empty mask.

    Args:
        decoding: Which answers it is for.
    """

    protocol = "lisa"

    def phrase_iou(self, pair: Overlap) -> float:
        """Return the IoU of one description, in [0, 1]."""
        return lisa_iou(pair)


class TeacherForcedIoU(ReasoningIoU):
    """CIoU and gIoU of masks that the model was told to draw, to compare with published RefCOCO and ReasonSeg numbers.

    Protocol ``teacher-forced`` (github dvlab-research/LISA, ``train_ds.py``, ``validate``; the same in LaSagnA's
    ``train_ds.py``): the rule of ``lisa``, over answers that were not generated: the model is given the answer "<SEG>."
    to every phrase, and its mask is scored. So whether a phrase fits anything at all is not tested. The scripts' mean
    divides by the number of phrases and 0.00001 more.
    """

    protocol = "teacher-forced"
    decodings = ("teacher_forced",)

    def __init__(self) -> None:
        super().__init__("teacher_forced")
