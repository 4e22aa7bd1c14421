"""Scores of pairs of images in which one thing was exchanged for another.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Dialogue
from lasagna.core.image_pairs import Side, pair_of
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import answered_by_name, answered_mask, entries_by_name, image_size
from lasagna.tasks.metrics.kept_lines import KeptLines
from lasagna.tasks.metrics.names import OWN_PROTOCOL, WAYS, score_key

CONFUSED = 3
"""How much more a pixel on the thing that is there weighs than one elsewhere, in the confusion mask score."""


class CounterfactualIoU(KeptLines):
    """How an answer follows the image where one thing was exchanged for another.

    Protocol ``hallusegbench`` (Li et al., HalluSegBench, arXiv 2506.21546; ``PLAN-Lab/HalluSegBench``,
    ``get_consistency.py`` and ``get_hallucination.py``). A pair has an image with a thing c and a twin with c' in its
    place; each of both is asked for on both images, in a query of its own. M and M' are the true masks of c on the
    image and of c' on the twin.

    - ``iou_factual``: mean over pairs of the IoU of M and the mask that c is answered with on the image.
    - ``delta_iou_textual``: mean of that IoU minus the IoU of M and the mask that c' is answered with on the image.
    - ``delta_iou_visual``: mean of it minus the IoU of M' and the mask that c is answered with on the twin.
    - ``cms_factual``: mean confusion mask score of c' on the image: the answered pixels, those on M counted three
      times, divided by three times the pixels of M.
    - ``cms_counterfactual``: the same of c on the twin with M'.
    - ``ccms``: mean over pairs of the quotient of both scores, where the second one is not 0.

    An IoU without any pixel is 0, and confusion mask scores are rounded to four digits, as in the scripts. Ignored
    pixels are left out of all masks, and masks have the size of their own image, where the scripts take that of the
    image as it was for both. ``pair_accuracy/lasagna-v1`` is the share of pairs of which all four decisions about
    presence are right.

    Phrases and questions belong to an image of a pair by their ``group`` (``lasagna.core.image_pairs``). A pair of
    which one image has no answer, and phrases of no pair, do not count.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "hallusegbench"
    grouped = True
    higher_is_better = None

    def update(self, dialogue: Dialogue, answer: Answer, *further: tuple[Dialogue, Answer]) -> None:
        """Keep what one image of a pair is answered with.

        Args:
            dialogue: A phrase and the truth.
            answer: The answer of the assistant.
            further: The other phrase about the image, with the answer.

        Raises:
            ValueError: If masks differ in size.
        """
        place, facts = pair_of(dialogue.group), _facts([(dialogue, answer), *further])
        if place is not None and facts is not None:
            self.keep_line({"pair": place[0], "side": place[1]} | facts)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores."""
        pairs: dict[str, dict[Side, Mapping[str, float]]] = {}
        for line in self.kept():
            pairs.setdefault(line["pair"], {})[line["side"]] = line
        whole = [(pair["factual"], pair["counterfactual"]) for pair in pairs.values() if len(pair) == 2]
        scores = {
            "iou_factual": _mean(image["present_iou"] for image, _ in whole),
            "delta_iou_textual": _mean(image["present_iou"] - image["absent_iou"] for image, _ in whole),
            "delta_iou_visual": _mean(image["present_iou"] - twin["absent_iou"] for image, twin in whole),
            "cms_factual": _mean(image["confusion"] for image, _ in whole),
            "cms_counterfactual": _mean(twin["confusion"] for _, twin in whole),
            "ccms": _mean(image["confusion"] / twin["confusion"] for image, twin in whole if twin["confusion"]),
        }
        found = {self.key(quantity): torch.tensor(score) for quantity, score in scores.items()}
        right = _mean(float(image["right"] and twin["right"]) for image, twin in whole)
        way = WAYS.get(self.decoding, ())
        return found | {score_key("pair_accuracy", OWN_PROTOCOL, *way): torch.tensor(right)}


class DrawnPairIoU(CounterfactualIoU):
    """The same for drawn scenes, whose twins are drawn once more with another thing; protocol ``hallusegbench-drawn``.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "hallusegbench-drawn"


class PastedPairIoU(CounterfactualIoU):
    """The same for twins in which an object of another image is pasted; protocol ``hallusegbench-pasted``.

    Args:
        decoding: Which answers are scored.
    """

    protocol = "hallusegbench-pasted"


def _facts(asked: Sequence[tuple[Dialogue, Answer]]) -> dict[str, float] | None:
    """Return what an image is answered with; None if there is not one phrase that fits and one that does not."""
    truth, right, claims = None, True, dict[bool, BoolMask | None]()
    for dialogue, answer in asked:
        entries, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
        size = image_size(dialogue, answer) or (0, 0)
        counted = None if dialogue.ignore is None else ~dialogue.ignore.decode()
        for name in map(normalise, dialogue.query if dialogue.kind.masks else ()):
            entry = entries.get(name)
            present = entry is not None and entry.present
            if entry is not None and entry.mask is not None:
                truth = _within(entry.mask.decode(), counted)
            claim = answered_mask(answered.get(name), size)
            claims[present] = None if claim is None else _within(claim, counted)
            right &= present == (name in answered and answered[name].present)
    if truth is None or len(claims) < 2:
        return None
    return {
        "present_iou": _iou(truth, claims[True]),
        "absent_iou": _iou(truth, claims[False]),
        "confusion": _confusion(truth, claims[False]),
        "right": right,
    }


def _within(mask: BoolMask, counted: BoolMask | None) -> BoolMask:
    return mask if counted is None else mask & counted


def _iou(truth: BoolMask, claim: BoolMask | None) -> float:
    union = int(truth.sum() if claim is None else (truth | claim).sum())
    return 0.0 if claim is None or union == 0 else int((truth & claim).sum()) / union


def _confusion(truth: BoolMask, claim: BoolMask | None) -> float:
    area = int(truth.sum())
    if claim is None or area == 0:
        return 0.0
    on, off = int((truth & claim).sum()), int((claim & ~truth).sum())
    return round((CONFUSED * on + off) / (CONFUSED * area), 4)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return sum(known) / len(known) if known else math.nan
