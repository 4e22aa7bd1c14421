"""Mean IoU as LaSagnA's released script and MMSegmentation count it, to compare with published numbers.

Notation: c: categories; H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Dialogue
from lasagna.core.masks import BoolMask
from lasagna.core.prompt_format import normalise
from lasagna.tasks.metrics.base import ratio
from lasagna.tasks.metrics.mean_iou import Labels, MeanIoU, iou_by_category


class ReferenceMeanIoU(MeanIoU):
    """Mean IoU by the rule of LaSagnA's released script; higher is better, in [0, 1].

    Protocol ``reference`` (github congvvc/LaSagnA at commit 897cbbe, ``test_sem.py``):

    - Void pixels, pixels without a true category and unclaimed pixels belong to the *first* category, in the truth and
      in the prediction. So a category that is void in the truth and missing from the answer costs nothing, and a void
      pixel that an answer claims counts against it.
    - If an answer has a name twice, its last mask counts. Where masks of several names overlap, the highest logit of
      the pixel wins, of equal ones that of the name asked for first, the first category where all are asked for in
      their order (``lasagna-v1`` says what decides without logits).
    - The mean is over the categories that occur in the truth or in a prediction.

    These rules differ:

    - Pixels that a name outside the categories wins belong to the first category; the script assigns them to the
      category with the most similar name.
    - Free decoding keeps the first of several entries with the same name, so that the last one never counts; the script
      draws all of them and keeps the last.
    - A present token without a name has no mask. The script gives its mask to some category or, at the beginning of the
      answer, pairs each later name with the mask before it.
    - Images without a pixel of a true category are left out; the script scores the first image of the data set again in
      their place.
    - Names of COCO-Stuff are the 171 of the question; the script looks answered names up in a list of 182.
    - The threshold of masks is the assistant's; that of the script is always a probability of 0.5.

    Args:
        categories: The data set's categories; the first one takes unassigned pixels.
        decoding: Which answers are scored; the script decodes freely.

    Raises:
        ConfigError: If there are no categories, or one is listed twice.
    """

    protocol = "reference"

    def _labels(
        self, dialogue: Dialogue, answer: Answer, size: tuple[int, int]
    ) -> tuple[Labels, Labels, BoolMask | None] | None:
        truth = self._truth(dialogue, size)
        if dialogue.ignore is not None:
            truth[dialogue.ignore.decode()] = len(self.categories)
        if (truth == len(self.categories)).all():
            return None
        return self._as_first(truth), self._as_first(self._prediction(_last(answer), size)), None

    def _as_first(self, labels: Labels) -> Labels:
        return np.where(labels == len(self.categories), np.int32(0), labels)


def _last(answer: Answer) -> Answer:
    present = [entry for entry in answer.entries if entry.present]
    last = {normalise(entry.name): entry for entry in present}
    return answer if len(last) == len(present) else replace(answer, entries=tuple(last.values()), top=None)


class MMSegMeanIoU(MeanIoU):
    """Mean IoU, pixel accuracy and mean accuracy as in MMSegmentation; higher is better, in [0, 1].

    Protocol ``mmseg`` (github open-mmlab/mmsegmentation, ``mmseg/evaluation/metrics/iou_metric.py``, class
    ``IoUMetric``, with the metric ``mIoU``):

    - Pixels whose true label is void *or none of the categories* are left out, and masks that cover them cost nothing;
      ``lasagna-v1`` differs here.
    - A predicted label outside the categories and an unclaimed pixel belong to no category's area and count as missed.
      Overlaps are resolved as in ``lasagna-v1``.
    - IoU and accuracy of a category are computed from sums over the data set; the means are over the categories that
      occur (for the accuracy, in the truth). Pixel accuracy is the share of counted pixels that are right.

    Args:
        categories: The data set's categories.
        decoding: Which answers are scored.

    Raises:
        ConfigError: If there are no categories, or one is listed twice.
    """

    protocol = "mmseg"

    def _labels(
        self, dialogue: Dialogue, answer: Answer, size: tuple[int, int]
    ) -> tuple[Labels, Labels, BoolMask | None] | None:
        truth = self._truth(dialogue, size)
        uncounted = truth == len(self.categories)
        if dialogue.ignore is not None:
            uncounted = np.logical_or(uncounted, dialogue.ignore.decode())
        return truth, self._prediction(answer, size), uncounted

    def compute(self) -> dict[str, Tensor]:
        """Return mean IoU, pixel accuracy and mean accuracy; NaN if no category occurs."""
        right, there = self.confusion.diagonal()[:-1], self.confusion.sum(1)[:-1]
        return {
            self.key("miou"): iou_by_category(self.confusion).nanmean(),
            self.key("pixel_accuracy"): ratio(right.sum(), there.sum()),
            self.key("mean_accuracy"): ratio(right, there).nanmean(),
        }
