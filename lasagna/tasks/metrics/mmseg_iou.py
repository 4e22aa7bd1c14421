"""Mean intersection over union and accuracies as the MMSegmentation toolbox counts them.

Notation: c: categories; H, W: height and width of the image in pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lasagna.core.dialogue import Answer, Dialogue
from lasagna.tasks.metrics.base import image_size, ratio
from lasagna.tasks.metrics.mean_iou import MeanIoU, confusion_matrix, iou_by_category


class MMSegMeanIoU(MeanIoU):
    """Mean IoU, pixel accuracy and mean accuracy as in MMSegmentation; higher is better, in [0, 1].

    Protocol ``mmseg`` (github open-mmlab/mmsegmentation, ``mmseg/evaluation/metrics/iou_metric.py``, class
    ``IoUMetric``, with the metric ``mIoU``):

    - Pixels whose true label is void *or none of the categories* are left out, and what is claimed there costs
      nothing; this is where it departs from ``lasagna-v1``.
    - A predicted label outside the categories, and a pixel that nothing claims, is in no category's area: it counts as
      missed. Overlaps are settled as in ``lasagna-v1``.
    - IoU and accuracy of a category are sums over the data set; the means run over the categories that occur (for the
      accuracy, in the truth). Pixel accuracy is the share of all counted pixels that are right.

    Args:
        categories: The data set's categories.
        decoding: Which answers it is for.

    Raises:
        ConfigError: If there are no categories, or one is there twice.
    """

    protocol = "mmseg"

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the pixels of one image.

        Raises:
            ValueError: If masks differ in size.
        """
        size = image_size(dialogue, answer)
        if size is None:
            return
        none = len(self.categories)
        truth = self._truth(dialogue, size)
        uncounted = truth == none
        if dialogue.ignore is not None:
            uncounted = np.logical_or(uncounted, dialogue.ignore.decode())
        prediction = self._prediction(answer, size)
        counts = confusion_matrix(truth, prediction, uncounted, none + 1)
        self.confusion += torch.from_numpy(counts).to(self.confusion.device)

    def compute(self) -> dict[str, Tensor]:
        """Return mean IoU, pixel accuracy and mean accuracy; NaN if no category occurs."""
        right, there = self.confusion.diagonal()[:-1], self.confusion.sum(1)[:-1]
        return {
            self.key("miou"): iou_by_category(self.confusion).nanmean(),
            self.key("pixel_accuracy"): ratio(right.sum(), there.sum()),
            self.key("mean_accuracy"): ratio(right, there).nanmean(),
        }
