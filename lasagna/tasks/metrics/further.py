"""The metrics of all protocols that apply to a list of names or to a phrase, beside those that a task has itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy

from torchmetrics import Metric

from lasagna.core.dialogue import Decoding
from lasagna.tasks.metrics.base import DialogueMetric
from lasagna.tasks.metrics.mean_iou import MeanIoU
from lasagna.tasks.metrics.order import AnswerOrder
from lasagna.tasks.metrics.phrase_iou import ReasoningIoU, ReferringIoU, TeacherForcedIoU
from lasagna.tasks.metrics.presence import Presence
from lasagna.tasks.metrics.reference_iou import MMSegMeanIoU, ReferenceMeanIoU


def list_metrics(categories: Sequence[str], decoding: Decoding) -> list[DialogueMetric]:
    """Return the metrics of lists of names with one mask each.

    Args:
        categories: The categories of the data set.
        decoding: How the answers are decoded.
    """
    if decoding == "teacher_forced":
        return []
    metrics: list[DialogueMetric] = [MeanIoU(categories, decoding), Presence(decoding)]
    metrics += [AnswerOrder(decoding)] if decoding == "free" else []
    return [*metrics, ReferenceMeanIoU(categories, decoding), MMSegMeanIoU(categories, decoding)]


def phrase_metrics(decoding: Decoding) -> list[DialogueMetric]:
    """Return the metrics of phrases.

    Args:
        decoding: How the answers are decoded, or whether they are given to the model.
    """
    return [TeacherForcedIoU()] if decoding == "teacher_forced" else [ReferringIoU(decoding), ReasoningIoU(decoding)]


def for_decoding(metrics: Iterable[Metric], usual: Decoding, decoding: Decoding) -> list[DialogueMetric]:
    """Return copies of metrics that score answers which are decoded in another way; none of those that cannot.

    Args:
        metrics: Metrics without counts.
        usual: Which of them are copied: those that score answers decoded in this way.
        decoding: How the answers are decoded.
    """
    able = [metric for metric in metrics if isinstance(metric, DialogueMetric) and decoding in metric.decodings]
    copies = [deepcopy(metric) for metric in able if metric.decoding == usual != decoding]
    for metric in copies:
        metric.decoding = decoding
    return copies
