"""The scores of SA-Co: are the right names found, and are their objects drawn well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue, Entry
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import DialogueMetric, answered_by_name, entries_by_name, ratio
from lasagna.tasks.metrics.presence import matthews

THRESHOLDS = np.arange(50, 100, 5) / 100
"""The IoU thresholds that scores are means over."""

_TINY = 1e-4
"""What the rule adds to each denominator when it compares annotators."""


@dataclass(frozen=True)
class ConceptCounts:
    """How one answer about one name compares with one annotator's objects.

    Args:
        true: Number of true objects.
        found: Number of objects in the answer.
        hits: Number of objects matched at each of ``THRESHOLDS``, integer ``[10]``.
    """

    true: int
    found: int
    hits: NDArray[np.int64]

    @property
    def f1(self) -> float:
        """Mean F1 over the thresholds, by which the best annotator is chosen."""
        precision = self.hits / (self.found + _TINY)
        recall = self.hits / (self.true + _TINY)
        return float(np.mean(2 * precision * recall / (precision + recall + _TINY)))

    @property
    def is_rejection(self) -> bool:
        """Whether there is nothing, and nothing was found."""
        return not self.true and not self.found


def concept_counts(annotators: Sequence[Sequence[Mask]], found: Sequence[Mask]) -> ConceptCounts:
    """Compare an answer about one name with the annotator who agrees with it best.

    Args:
        annotators: The true objects, as each annotator drew them.
        found: The objects of the answer.
    """
    codes = [_code(mask) for mask in found]
    best, *others = (_compared([_code(mask) for mask in masks], codes) for masks in annotators)
    for other in others:
        if best.is_rejection or other.is_rejection:
            best = other if other.is_rejection else best
        elif other.f1 > best.f1:
            best = other
    return best


class ConceptF1(DialogueMetric):
    """Classification-gated F1 of the objects of a name, with its two factors (SAM 3, arXiv 2511.16719, section 5).

    Protocol ``sa-co``: each name of each query is a question of its own. ``il_mcc`` is the Matthews correlation of
    "there are objects" and "objects were found", in [-1, 1]. ``pmf1`` is the micro F1 of objects on images that have
    some, matched so that the summed IoU is largest, a mean over ten IoU thresholds from 0.5 to 0.95. ``cgf1`` is 100
    times their product. Higher is better. Of several annotators, the one who agrees best with an answer counts. A name
    of which a record does not tell objects apart has one: their union. Names with crowds, whose objects cannot be
    counted, are left out.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "sa-co"
    higher_is_better = True
    outcomes: Tensor
    objects: Tensor
    hits: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("outcomes", 4)
        self.add_sum("objects", 2)
        self.add_sum("hits", len(THRESHOLDS))

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the names of one answer."""
        truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
        for name in map(normalise, dialogue.query):
            entry, claim = truth.get(name), answered.get(name)
            if entry is not None and entry.crowds:
                continue
            found = claim.masks if claim is not None and claim.present else ()
            annotators = [_objects(entry), *(() if entry is None else entry.annotators)]
            self.add(concept_counts(annotators, [RLEMask.from_array(mask) for mask in found]))

    def add(self, counts: ConceptCounts) -> None:
        """Add the counts of one name."""
        self.outcomes[2 * (not counts.found) + (not counts.true)] += 1
        if counts.true:
            self.objects += torch.tensor([counts.true, counts.found], device=self.objects.device)
            self.hits += torch.from_numpy(counts.hits).to(self.hits.device)

    def compute(self) -> dict[str, Tensor]:
        """Return Matthews correlation, F1 of objects, and their product."""
        correlation = matthews(self.outcomes)
        f1 = ratio(2 * self.hits, self.objects.sum()).mean()
        return {
            self.key("il_mcc"): correlation,
            self.key("pmf1"): f1,
            self.key("cgf1"): 100 * f1 * correlation,
        }


def _compared(true: Sequence[dict[str, Any]], found: Sequence[dict[str, Any]]) -> ConceptCounts:
    hits = np.zeros(len(THRESHOLDS), dtype=np.int64)
    if true and found:
        # two empty masks have no union; they do not match
        overlaps = np.nan_to_num(np.asarray(coco.iou(found, true, [0] * len(true)), dtype=np.float64))
        matched = overlaps[linear_sum_assignment(-overlaps)]
        hits += (matched[:, None] >= THRESHOLDS).sum(0)
    return ConceptCounts(len(true), len(found), hits)


def _code(mask: Mask) -> dict[str, Any]:
    return (mask if isinstance(mask, RLEMask) else RLEMask.from_array(mask.decode())).to_json()


def _objects(entry: Entry | None) -> Sequence[Mask]:
    if entry is None or not entry.present or entry.mask is None:
        return ()
    return entry.masks or (entry.mask,)
