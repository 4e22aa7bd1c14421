from .base import Task
from .callbacks.answer_writer import AnswerWriter
from .callbacks.checkpoint import BestCheckpoint, RunCheckpoint
from .callbacks.continued_logs import ContinuedLogs
from .callbacks.csv_logger import RunLogger
from .callbacks.monitors import MonitorCheck
from .callbacks.prediction_sheet import PredictionSheet
from .callbacks.progress import PartsTable, RunProgress
from .callbacks.summary import RunSummary
from .callbacks.validation import RunValidation
from .concepts import Concepts
from .grounded_caption import GroundedCaption
from .instances import Instances
from .metrics.absent_phrases import FalsePremiseIoU, RobustIoU, ZeroOneManyIoU
from .metrics.agreement import DecisionAgreement
from .metrics.answer_accuracy import AnswerAccuracy
from .metrics.average_precision import AveragePrecision, ObjectCount
from .metrics.base import DialogueMetric, collect
from .metrics.cider import CaptionCIDEr
from .metrics.concept_f1 import ConceptF1
from .metrics.counterfactual import CounterfactualIoU, DrawnPairIoU, PastedPairIoU
from .metrics.grounding import CaptionBLEU, MaskRecall, MatchedIoU, PhrasePrecision
from .metrics.mean_iou import MeanIoU
from .metrics.multi_target import MultiTargetIoU
from .metrics.order import AnswerOrder
from .metrics.panoptic_quality import PanopticQuality
from .metrics.phrase_iou import PhraseIoU, ReasoningIoU, ReferringIoU, TeacherForcedIoU
from .metrics.presence import Presence, PresenceByLength
from .metrics.reference_iou import MMSegMeanIoU, ReferenceMeanIoU
from .panoptic import Panoptic
from .reasoning import Reasoning
from .referring import Referring
from .semantic import Semantic
from .training.batch_checks import EmptyMasks, FiniteLoss, LearnedKinds, ManyObjects, ObjectsLearned, SmallMasks
from .training.compiling import CompiledParts
from .training.division import DividedWeights
from .training.ema import WeightAverage
from .training.fsdp2 import FSDP2Strategy
from .training.mixed_optimizer import OtherOptimiser
from .training.module import AssistantTraining
from .training.optimiser import Optimiser
from .training.zero import ZeroStrategy
from .vqa import VQA

__all__ = [
    "VQA",
    "AnswerAccuracy",
    "AnswerOrder",
    "AnswerWriter",
    "AssistantTraining",
    "AveragePrecision",
    "BestCheckpoint",
    "CaptionBLEU",
    "CaptionCIDEr",
    "CompiledParts",
    "ConceptF1",
    "Concepts",
    "ContinuedLogs",
    "CounterfactualIoU",
    "DecisionAgreement",
    "DialogueMetric",
    "DividedWeights",
    "DrawnPairIoU",
    "EmptyMasks",
    "FSDP2Strategy",
    "FalsePremiseIoU",
    "FiniteLoss",
    "GroundedCaption",
    "Instances",
    "LearnedKinds",
    "MMSegMeanIoU",
    "ManyObjects",
    "MaskRecall",
    "MatchedIoU",
    "MeanIoU",
    "MonitorCheck",
    "MultiTargetIoU",
    "ObjectCount",
    "ObjectsLearned",
    "Optimiser",
    "OtherOptimiser",
    "Panoptic",
    "PanopticQuality",
    "PartsTable",
    "PastedPairIoU",
    "PhraseIoU",
    "PhrasePrecision",
    "PredictionSheet",
    "Presence",
    "PresenceByLength",
    "Reasoning",
    "ReasoningIoU",
    "ReferenceMeanIoU",
    "Referring",
    "ReferringIoU",
    "RobustIoU",
    "RunCheckpoint",
    "RunLogger",
    "RunProgress",
    "RunSummary",
    "RunValidation",
    "Semantic",
    "SmallMasks",
    "Task",
    "TeacherForcedIoU",
    "WeightAverage",
    "ZeroOneManyIoU",
    "ZeroStrategy",
    "collect",
]
