"""IoU of the masks of phrases, and whether phrases without a target are recognised.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
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
    """How a true and an answered mask overlap; ignored pixels are left out of both.

    Args:
        intersection: Pixels in both.
        union: Pixels in at least one of them.
        answered: Whether the answered mask has any pixel.
        target: Whether the phrase has a target.
    """

    intersection: int
    union: int
    answered: bool
    target: bool


def overlap(truth: BoolMask, claim: BoolMask, ignore: BoolMask | None, target: bool) -> Overlap:
    """Compare one phrase's true mask with the answered one.

    Args:
        truth: Bool ``[H, W]``, empty if the phrase has no target.
        claim: Bool ``[H, W]``, empty if the answer has no mask.
        ignore: Pixels to leave out, bool ``[H, W]``, or None for none.
        target: Whether the phrase has a target.
    """
    if ignore is not None:
        truth, claim = truth & ~ignore, claim & ~ignore
    intersection, area = np.count_nonzero(truth & claim), np.count_nonzero(claim)
    union = np.count_nonzero(truth) + area - intersection
    return Overlap(int(intersection), int(union), answered=bool(area), target=target)


def grefcoco_iou(pair: Overlap) -> float:
    """Return the IoU of a phrase; without a target it is 1 if the answer is empty, else 0."""
    if not pair.target:
        return float(not pair.answered)
    return pair.intersection / pair.union if pair.union else 0.0


def lisa_iou(pair: Overlap) -> float:
    """Return the IoU of a phrase; 1 if both masks are empty."""
    return pair.intersection / pair.union if pair.union else 1.0


def phrase_overlaps(dialogue: Dialogue, answer: Answer) -> Iterator[Overlap]:
    """Yield how the true and the answered mask of each phrase of a query overlap, unless it is answered in words alone.

    Args:
        dialogue: The query and the truth.
        answer: The answer of the assistant.

    Raises:
        ValueError: If masks differ in size.
    """
    if not dialogue.kind.masks:
        return
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    size = image_size(dialogue, answer) or (0, 0)
    ignore = None if dialogue.ignore is None else dialogue.ignore.decode()
    for name in map(normalise, dialogue.query):
        entry, nothing = truth.get(name), np.zeros(size, dtype=bool)
        masks = [None if entry is None or entry.mask is None else entry.mask.decode()]
        masks += [answered_mask(answered.get(name), size)]
        target, claim = (nothing if mask is None else mask for mask in masks)
        yield overlap(target, claim, ignore, target=entry is not None and entry.present)


class PhraseIoU(DialogueMetric):
    """Sums over phrases for cIoU and gIoU; a subclass states the protocol and the IoU of a phrase.

    Args:
        decoding: Which answers are scored.
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
        """Count the phrase of a query; one that is answered in words alone does not count.

        Raises:
            ValueError: If masks differ in size.
        """
        for pair in phrase_overlaps(dialogue, answer):
            self._count(pair)

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
    """cIoU, gIoU, N-acc and T-acc of phrases with no, one or many targets; higher is better, in [0, 1].

    Protocol ``grefcoco`` (Liu et al., GRES, arXiv 2306.00968, section 3; and its evaluation code):

    - cIoU: sum of intersections over all phrases divided by the sum of unions; a mask for a phrase without a target
      adds to the union.
    - gIoU: mean IoU over phrases; a phrase without a target has 1 if its answer is empty, else 0.
    - ``giou/grefcoco/targets``: gIoU over only the phrases with a target, as in data sets that have no others.
    - N-acc and T-acc: share of the phrases without (with) a target whose answer is empty (not empty). An answer is
      empty if it says absent, is missing, or its mask has no pixel.

    Ignored pixels are left out of all masks.

    Args:
        decoding: Which answers are scored.
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
    """CIoU and gIoU of descriptions with one mask each; higher is better, in [0, 1].

    Protocol ``lisa`` (Lai et al., LISA, arXiv 2308.00692, section 4.1; and its evaluation code): cIoU is the sum of
    intersections divided by the sum of unions, gIoU the mean IoU over descriptions; two empty masks have 1. Ignored
    pixels are left out. LISA's script gives the model the mask token (see ``TeacherForcedIoU``); here the assistant
    decides, and the answer "absent" is an empty mask.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "lisa"

    def phrase_iou(self, pair: Overlap) -> float:
        """Return the IoU of one description, in [0, 1]."""
        return lisa_iou(pair)


class TeacherForcedIoU(ReasoningIoU):
    """CIoU and gIoU of teacher-forced masks, to compare with published numbers of RefCOCO and ReasonSeg.

    Protocol ``teacher-forced`` (github dvlab-research/LISA, ``train_ds.py``, ``validate``; also LaSagnA's
    ``train_ds.py``): the rule of ``lisa`` for answers that are not generated: the model is given the answer "<SEG>." to
    every phrase, and its mask is scored. Whether a phrase has a target is not tested. The scripts divide by the number
    of phrases plus 0.00001.
    """

    protocol = "teacher-forced"
    decodings = ("teacher_forced",)

    def __init__(self) -> None:
        super().__init__("teacher_forced")
