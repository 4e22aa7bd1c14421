"""Metrics of answers; their names and protocols are in ``lasagna.tasks.metrics.names``."""

from lasagna.tasks.metrics.answer_accuracy import AnswerAccuracy
from lasagna.tasks.metrics.base import DialogueMetric, collect
from lasagna.tasks.metrics.mean_iou import MeanIoU
from lasagna.tasks.metrics.names import PROTOCOLS, QUANTITIES, Quantity, quantity_of, score_key
from lasagna.tasks.metrics.order import AnswerOrder
from lasagna.tasks.metrics.phrase_iou import PhraseIoU, ReasoningIoU, ReferringIoU, TeacherForcedIoU
from lasagna.tasks.metrics.presence import Presence, PresenceByLength
from lasagna.tasks.metrics.reference_iou import MMSegMeanIoU, ReferenceMeanIoU

__all__ = [
    "PROTOCOLS",
    "QUANTITIES",
    "AnswerAccuracy",
    "AnswerOrder",
    "DialogueMetric",
    "MMSegMeanIoU",
    "MeanIoU",
    "PhraseIoU",
    "Presence",
    "PresenceByLength",
    "Quantity",
    "ReasoningIoU",
    "ReferenceMeanIoU",
    "ReferringIoU",
    "TeacherForcedIoU",
    "collect",
    "quantity_of",
    "score_key",
]
