"""Mean intersection over union of categories.

Notation: c: categories; H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.masks import BoolMask
from lasagna.core.overlaps import OverlapMap
from lasagna.core.prompt_format import normalise
from lasagna.errors import ConfigError
from lasagna.tasks.metrics.base import DialogueMetric, answered_mask, image_size

Labels = NDArray[np.int32]
_LARGEST = np.iinfo(np.int32).max
_AT_ONCE = 1 << 22
"""Pixels that are counted at a time, since each takes 20 bytes more meanwhile."""


def paint_truth(layers: Iterable[tuple[int, BoolMask]], size: tuple[int, int], none: int) -> Labels:
    """Paint true masks; where masks overlap, the smaller one wins, of equal ones the one with the higher label.

    The result does not depend on the order of the names in the query.

    Args:
        layers: Labels below ``none``, each once, with their masks, bool ``[H, W]``; consumed one at a time.
        size: Height and width in pixels.
        none: Label of the pixels without a mask.

    Returns:
        Labels, int32 ``[H, W]``.
    """
    top = OverlapMap(size)
    for label, mask in layers:
        top.add_whole(none - 1 - label, mask, _LARGEST - int(np.count_nonzero(mask)))
    return top.labels(np.array([*range(none - 1, -1, -1), none], dtype=np.int32))


def top_of(answer: Answer, size: tuple[int, int]) -> OverlapMap:
    """Return which entry's mask is on top at each pixel, as ``Answer.overlap_map`` does; ranks are positions in it.

    Args:
        answer: The answer.
        size: Height and width of the image in pixels.

    Raises:
        ValueError: If a mask has another size.
    """
    for entry in answer.entries:
        answered_mask(entry, size)
    return answer.overlap_map(size)


def confusion_matrix(truth: Labels, prediction: Labels, void: BoolMask | None, classes: int) -> NDArray[np.int64]:
    """Count pixels by true and predicted label.

    Args:
        truth: True labels below ``classes``, int32 ``[H, W]``.
        prediction: Predicted labels below ``classes``, int32 ``[H, W]``.
        void: Pixels to leave out, bool ``[H, W]``, or None for none.
        classes: Number of labels.

    Returns:
        Counts ``[classes, classes]``, a row for each true label.
    """
    counts = np.zeros(classes * classes, np.int64)
    rows = max(1, _AT_ONCE // max(1, truth.shape[1]))
    for first in range(0, len(truth), rows):
        part = slice(first, first + rows)
        true = truth[part] if void is None else np.where(void[part], np.int32(classes), truth[part])
        pairs = true.astype(np.int64) * classes + prediction[part]
        counts += np.bincount(pairs.reshape(-1), minlength=classes * classes)[: classes * classes]
    return counts.reshape(classes, classes)


def iou_by_category(confusion: Tensor) -> Tensor:
    """Return the IoU of each category.

    Args:
        confusion: Counts ``[c + 1, c + 1]``, the last row and column for pixels of no category.

    Returns:
        Float ``[c]``, NaN for categories that occur neither in the truth nor in a prediction.
    """
    intersection = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - intersection
    iou = intersection.float() / union.clamp(min=1).float()
    return torch.where(union > 0, iou, torch.nan)[:-1]


class MeanIoU(DialogueMetric):
    """Mean IoU over categories from one confusion matrix over the data set; higher is better, in [0, 1].

    Protocol ``lasagna-v1``:

    - The true label of a pixel is the category whose mask covers it (where true masks overlap, the smaller one); its
      predicted label is the category whose answered mask covers it. Where answered masks overlap, the highest logit of
      the pixel wins, of equal ones that of the name asked for first (``Answer.top``); ``Answer.overlap_map`` says what
      decides in answers that were not made by the assistant.
    - Both labels are "none" where no mask covers the pixel. A name outside the categories (a borrowed one) competes for
      pixels like any other, and the pixels that it wins are "none". Categories that are not in the query are "none" in
      the truth.
    - Void pixels are left out.
    - The mean is over the categories that occur in the truth or in a prediction anywhere in the data set, so a category
      that is never present but answered somewhere counts as 0. "None" is not part of the mean.

    The confusion matrix over a data set and its mean follow Long et al. (arXiv 1411.4038, section 5, "mean IU"). The
    label "none" and the void rule differ from LaSagnA's released script, which counts void and unclaimed pixels as the
    first category.

    Args:
        categories: The data set's categories.
        decoding: Which answers are scored.

    Raises:
        ConfigError: If there are no categories, or one is listed twice.
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    confusion: Tensor

    def __init__(self, categories: Sequence[str], decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.labels = {normalise(name): label for label, name in enumerate(categories)}
        if not categories or len(self.labels) != len(categories):
            raise ConfigError(
                f"categories: the manifest must list them, each once; got {list(categories)}. List them there, or "
                "choose a task that needs none"
            )
        self.categories = tuple(categories)
        self.add_sum("confusion", len(categories) + 1, len(categories) + 1)

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the pixels of one image.

        Raises:
            ValueError: If masks differ in size.
        """
        size = image_size(dialogue, answer)
        labels = None if size is None else self._labels(dialogue, answer, size)
        if labels is not None:
            counts = confusion_matrix(*labels, len(self.categories) + 1)
            self.confusion += torch.from_numpy(counts).to(self.confusion.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the mean IoU; NaN if no category occurs."""
        return {self.key("miou"): iou_by_category(self.confusion).nanmean()}

    def by_category(self) -> dict[str, float]:
        """Return the IoU of each category; NaN for those that occur nowhere."""
        return dict(zip(self.categories, map(float, iou_by_category(self.confusion)), strict=True))

    def _labels(
        self, dialogue: Dialogue, answer: Answer, size: tuple[int, int]
    ) -> tuple[Labels, Labels, BoolMask | None] | None:
        """Return true labels, predicted labels and the pixels to leave out; None to leave out the image."""
        void = None if dialogue.ignore is None else dialogue.ignore.decode()
        return self._truth(dialogue, size), self._prediction(answer, size), void

    def _label(self, name: str) -> int:
        return self.labels.get(normalise(name), len(self.categories))

    def _truth(self, dialogue: Dialogue, size: tuple[int, int]) -> Labels:
        none = len(self.categories)
        masks = ((self._label(entry.name), entry.mask) for entry in dialogue.entries if entry.mask is not None)
        return paint_truth(((label, mask.decode()) for label, mask in masks if label != none), size, none)

    def _prediction(self, answer: Answer, size: tuple[int, int]) -> Labels:
        labels = [*(self._label(entry.name) for entry in answer.entries), len(self.categories)]
        return top_of(answer, size).labels(np.array(labels, dtype=np.int32))
