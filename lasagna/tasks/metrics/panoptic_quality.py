"""Panoptic quality: each pixel belongs to one segment, an object or stuff, and segments are recognised or not.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import DialogueMetric, image_size

VOID = 0
"""Number of the pixels that belong to no segment."""


@dataclass(frozen=True)
class Segments:
    """The segments of an image, which do not overlap.

    Args:
        numbers: Number of the segment of each pixel, from 1, or ``VOID``, int32 ``[H, W]``.
        names: The name of each segment, normalised, in the order of their numbers.
        crowds: Numbers of the segments that are groups of objects.
    """

    numbers: NDArray[np.int32]
    names: tuple[str, ...]
    crowds: frozenset[int] = frozenset()


def true_segments(dialogue: Dialogue, size: tuple[int, int], stuff: frozenset[str] = frozenset()) -> Segments:
    """Return the segments of the truth; where true masks overlap, the first one counts, and crowds come last.

    Args:
        dialogue: The query and the truth.
        size: Height and width of the image in pixels.
        stuff: Normalised names that have one segment.
    """
    parts, crowds = list[tuple[str, BoolMask]](), list[tuple[str, BoolMask]]()
    for entry in dialogue.entries:
        name = normalise(entry.name)
        if not entry.present or entry.mask is None:
            continue
        if name in stuff or not (entry.masks or entry.crowds):
            parts.append((name, entry.mask.decode()))
            continue
        parts += [(name, mask.decode()) for mask in entry.masks]
        if entry.crowds:
            crowds.append((name, np.logical_or.reduce([mask.decode() for mask in entry.crowds])))
    left = np.ones(size, bool) if dialogue.ignore is None else ~dialogue.ignore.decode()
    numbers, names = np.zeros(size, np.int32), list[str]()
    groups = set[int]()
    for rank, (name, mask) in enumerate((*parts, *crowds)):
        free = mask & left
        if free.any():
            names.append(name)
            numbers[free] = len(names)
            left &= ~mask
            groups |= {len(names)} if rank >= len(parts) else set()
    return Segments(numbers, tuple(names), frozenset(groups))


def answered_segments(
    answer: Answer, size: tuple[int, int], stuff: frozenset[str] = frozenset(), least_visible: float = 0.5
) -> Segments:
    """Return the segments of an answer.

    Of two names the one whose logit is higher has the pixel, of two objects of a name the one whose score is higher.

    Args:
        answer: The answer.
        size: Height and width of the image in pixels.
        stuff: Normalised names that have one segment.
        least_visible: Share of an object's mask that others must leave; otherwise it is no segment, and its pixels are
            void (Panoptic FPN, arXiv 1901.02446, section 4).
    """
    ranks = answer.overlap_map(size).ranks()
    numbers, names, seen = np.zeros(size, np.int32), list[str](), set[str]()
    for rank, entry in enumerate(answer.entries):
        name = normalise(entry.name)
        if name in seen or not entry.present or entry.mask is None:
            continue
        seen.add(name)
        left: BoolMask = ranks == rank
        masks = (entry.mask,) if name in stuff else entry.masks
        scores = entry.scores if len(entry.scores) == len(masks) else (entry.score,)
        for place in np.argsort([-score for score in scores[: len(masks)]], kind="stable"):
            visible = masks[place] & left
            if name not in stuff and visible.sum() < least_visible * masks[place].sum():
                continue
            if visible.any():
                names.append(name)
                numbers[visible] = len(names)
                left &= ~visible
    return Segments(numbers, tuple(names))


class PanopticQuality(DialogueMetric):
    """PQ, SQ and RQ over all categories, over things and over stuff; higher is better, in [0, 1].

    Protocol ``coco-panoptic``, the rule of COCO's ``panopticapi`` (Kirillov et al., arXiv 1801.00868): a true and an
    answered segment of one category match if their IoU, without void pixels, is above 0.5. SQ is the mean IoU of
    matches, RQ the F1 of segments, PQ their product; all are means over the categories that occur in truth or answers.
    Answered segments of which more than half is void or a crowd of their category do not count. Void are ignored pixels
    and those of no true segment. Published numbers are 100 times as large.

    Args:
        categories: The categories of the data set.
        stuff: Those whose objects are not told apart.
        decoding: Which answers are scored.
    """

    protocol = "coco-panoptic"
    coco_format = "panoptic"
    higher_is_better = True
    plot_upper_bound = 1.0
    iou: Tensor
    counts: Tensor

    def __init__(self, categories: Sequence[str], stuff: Sequence[str] = (), decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.ranks = {normalise(name): rank for rank, name in enumerate(categories)}
        self.stuff = frozenset(map(normalise, stuff))
        self.add_sum("iou", len(categories), dtype=torch.float64)
        self.add_sum("counts", 3, len(categories))

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the segments of one image."""
        size = image_size(dialogue, answer)
        if size is not None:
            self.add(true_segments(dialogue, size, self.stuff), answered_segments(answer, size, self.stuff))

    def add(self, true: Segments, found: Segments) -> None:
        """Count the segments of one image.

        Args:
            true: Those of the truth.
            found: Those of the answer.
        """
        # rows are true segments and columns answered ones, each after its void
        shape = (len(true.names) + 1, len(found.names) + 1)
        pairs = true.numbers.astype(np.int64) * shape[1] + found.numbers
        common = np.bincount(pairs.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
        union = common.sum(1)[:, None] + (common.sum(0) - common[VOID]) - common
        same = np.array([[a == b for b in ("", *found.names)] for a in (" ", *true.names)], dtype=bool)
        same[list(true.crowds)] = False
        matched = same & (common > 0.5 * union)
        void = common[VOID].copy()
        for crowd in true.crowds:
            own = [name == true.names[crowd - 1] for name in found.names]
            void[1:] += common[crowd, 1:] * np.array(own, dtype=bool)
        for row, column in zip(*matched.nonzero(), strict=True):
            self._count(0, true.names[row - 1], float(common[row, column] / union[row, column]))
        for row, name in enumerate(true.names, start=1):
            if row not in true.crowds and not matched[row].any():
                self._count(2, name)
        for column, name in enumerate(found.names, start=1):
            if not matched[:, column].any() and void[column] <= 0.5 * common[:, column].sum():
                self._count(1, name)

    def _count(self, kind: int, name: str, iou: float = 0.0) -> None:
        if name in self.ranks:
            self.counts[kind, self.ranks[name]] += 1
            self.iou[self.ranks[name]] += iou

    def compute(self) -> dict[str, Tensor]:
        """Return PQ, SQ and RQ, and those of things and of stuff where a data set has stuff."""
        hits, wrong, missed = self.counts.double()
        whole = hits + wrong / 2 + missed / 2
        occurs, quality = whole > 0, {"pq": self.iou / whole, "sq": self.iou / hits.clamp(min=1), "rq": hits / whole}
        is_stuff = torch.tensor([name in self.stuff for name in self.ranks], device=self.counts.device)
        groups = {(): occurs} | ({("things",): occurs & ~is_stuff, ("stuff",): occurs & is_stuff} if self.stuff else {})
        return {
            self.key(name, *part): values[chosen].mean().float()
            for part, chosen in groups.items()
            for name, values in quality.items()
        }
