"""COCO's scores of objects, computed by its own code, and how often their number is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, ClassVar

import torch
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.masks import Mask, RLEMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import CocoFormat, DialogueMetric, answered_by_name, entries_by_name, ratio
from lasagna.tasks.metrics.kept_lines import KeptLines

SHOWN = {"ap": 0, "ap50": 1, "ap75": 2, "ar": 8}
"""Quantities, and their places in the summary of ``COCOeval``."""


class AveragePrecision(KeptLines):
    """AP and AR of masks, as COCO counts them (Lin et al., ECCV 2014); higher is better, in [0, 1].

    Protocol ``coco``: ``pycocotools.cocoeval.COCOeval`` with its usual settings, means over the categories that occur.
    An answer's masks count with their scores, at most 100 for an image and category. Crowds and ignored pixels are
    regions with ``iscrowd``: masks that lie in them count neither for nor against. Only categories that a query asks
    for count on its image, and names that are no categories do not.

    Args:
        categories: The categories of the data set.
        decoding: Which answers are scored.
    """

    protocol = "coco"
    coco_format: ClassVar[CocoFormat] = "instances"
    higher_is_better = True
    plot_upper_bound = 1.0

    def __init__(self, categories: Sequence[str], decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.categories = tuple(categories)
        self.ids = {normalise(name): number for number, name in enumerate(categories, start=1)}

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Keep the true and the answered masks of one image."""
        self.keep(*image_annotations(dialogue, answer, self.ids))

    def keep(self, true: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
        """Keep the masks of one image in COCO's form.

        Args:
            true: Annotations, as of ``image_annotations``.
            found: Results, as of ``image_annotations``.
        """
        self.keep_line({"true": true, "found": found})

    def compute(self) -> dict[str, Tensor]:
        """Return AP (also at IoU 0.5 and 0.75) and AR."""
        summary = self._summary(self.kept())
        values = {self.key(name): summary[place] for name, place in SHOWN.items()}
        # pycocotools states what there is nothing to measure by -1
        return {key: torch.tensor(value if value >= 0 else torch.nan) for key, value in values.items()}

    def _summary(self, images: Sequence[Mapping[str, Any]]) -> Sequence[float]:
        numbered = list(enumerate(images, start=1))
        sizes = {number: _size(image) for number, image in numbered}
        true = [{"image_id": number, **part} for number, image in numbered for part in image["true"]]
        found = [{"image_id": number, **part} for number, image in numbered for part in image["found"]]
        with redirect_stdout(StringIO()):  # pycocotools prints
            evaluation = COCOeval(self._coco(sizes, true), self._coco(sizes, found), "segm")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return list(map(float, evaluation.stats))

    def _coco(self, sizes: Mapping[int, tuple[int, int]], annotations: list[dict[str, Any]]) -> COCO:
        made = COCO()
        areas = [float(coco.area(part["segmentation"])) for part in annotations]
        made.dataset = {
            "images": [{"id": number, "height": size[0], "width": size[1]} for number, size in sizes.items()],
            "categories": [{"id": number, "name": name} for number, name in enumerate(self.categories, start=1)],
            # ids begin with 1, since pycocotools takes 0 for "not matched"
            "annotations": [
                {"id": rank, "area": area, "iscrowd": 0} | part
                for rank, (area, part) in enumerate(zip(areas, annotations, strict=True), start=1)
            ],
        }
        made.createIndex()
        return made


def image_annotations(
    dialogue: Dialogue, answer: Answer, ids: Mapping[str, int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the true and the answered masks of an image in COCO's form.

    Ignored pixels are a crowd of each name that was asked for, so that no mask in them counts.

    Args:
        dialogue: The query and the truth.
        answer: The answer.
        ids: Normalised name of a category to its id; other names are left out.

    Returns:
        Annotations ("category_id", "segmentation", "iscrowd"), and results ("category_id", "segmentation", "score").
    """
    truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
    true, found = [], []
    for name in filter(ids.__contains__, map(normalise, dialogue.query)):
        number, entry = ids[name], truth.get(name)
        crowds = [] if dialogue.ignore is None else [dialogue.ignore]
        if entry is not None:
            true += [annotation(number, mask, crowd=False) for mask in entry.masks]
            crowds += entry.crowds
        true += [annotation(number, mask, crowd=True) for mask in crowds]
        claim = answered.get(name)
        if claim is not None and claim.present:
            codes = [RLEMask.from_array(mask).to_json() for mask in claim.masks]
            found += [
                {"category_id": number, "segmentation": code, "score": score}
                for code, score in zip(codes, claim.scores, strict=True)
            ]
    return true, found


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    sizes = [part["segmentation"]["size"] for part in (*image["true"], *image["found"])]
    return (sizes[0][0], sizes[0][1]) if sizes else (1, 1)


def annotation(category: int, mask: Mask, *, crowd: bool) -> dict[str, Any]:
    """Return a true mask as one of COCO's annotations.

    Args:
        category: Number of its category.
        mask: The mask.
        crowd: Whether masks that lie in it count neither for nor against.
    """
    code = mask if isinstance(mask, RLEMask) else RLEMask.from_array(mask.decode())
    return {"category_id": category, "segmentation": code.to_json(), "iscrowd": int(crowd)}


class ObjectCount(DialogueMetric):
    """Share of names of which an answer finds the right number of objects; higher is better, in [0, 1].

    Protocol ``lasagna-v1``: names count that are present or called present and have no crowd. A name that is not called
    present has no objects, and neither has a name that is absent. Where the masks lie does not matter.

    Args:
        decoding: Which answers are scored.
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    right: Tensor
    names: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("right")
        self.add_sum("names")

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the names of one answer."""
        truth, answered = entries_by_name(dialogue.entries), answered_by_name(answer)
        for name in map(normalise, dialogue.query):
            entry, claim = truth.get(name), answered.get(name)
            true = len(entry.masks) if entry is not None and entry.present else 0
            found = len(claim.masks) if claim is not None and claim.present else 0
            if (true or found) and not (entry is not None and entry.crowds):
                self.right += int(true == found)
                self.names += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the share."""
        return {self.key("object_count_accuracy"): ratio(self.right, self.names)}
