from .absent_phrases import FalsePremiseIoU, RobustIoU, ZeroOneManyIoU
from .agreement import DecisionAgreement
from .answer_accuracy import AnswerAccuracy
from .average_precision import AveragePrecision, ObjectCount
from .base import DialogueMetric, collect
from .cider import CaptionCIDEr
from .concept_f1 import ConceptF1
from .counterfactual import CounterfactualIoU, DrawnPairIoU, PastedPairIoU
from .further import for_decoding, list_metrics, phrase_metrics
from .grounding import CaptionBLEU, MaskRecall, MatchedIoU, PhrasePrecision
from .mean_iou import MeanIoU
from .multi_target import MultiTargetIoU
from .names import PROTOCOLS, QUANTITIES, Quantity, quantity_of, score_key
from .order import AnswerOrder
from .panoptic_quality import PanopticQuality
from .phrase_iou import PhraseIoU, ReasoningIoU, ReferringIoU, TeacherForcedIoU
from .presence import Presence, PresenceByLength
from .reference_iou import MMSegMeanIoU, ReferenceMeanIoU

__all__ = [
    "PROTOCOLS",
    "QUANTITIES",
    "AnswerAccuracy",
    "AnswerOrder",
    "AveragePrecision",
    "CaptionBLEU",
    "CaptionCIDEr",
    "ConceptF1",
    "CounterfactualIoU",
    "DecisionAgreement",
    "DialogueMetric",
    "DrawnPairIoU",
    "FalsePremiseIoU",
    "MMSegMeanIoU",
    "MaskRecall",
    "MatchedIoU",
    "MeanIoU",
    "MultiTargetIoU",
    "ObjectCount",
    "PanopticQuality",
    "PastedPairIoU",
    "PhraseIoU",
    "PhrasePrecision",
    "Presence",
    "PresenceByLength",
    "Quantity",
    "ReasoningIoU",
    "ReferenceMeanIoU",
    "ReferringIoU",
    "RobustIoU",
    "TeacherForcedIoU",
    "ZeroOneManyIoU",
    "collect",
    "for_decoding",
    "list_metrics",
    "phrase_metrics",
    "quantity_of",
    "score_key",
]
