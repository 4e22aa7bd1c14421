"""Tasks, training and scores."""

from lasagna.tasks.base import Task
from lasagna.tasks.callbacks.answer_writer import AnswerWriter
from lasagna.tasks.callbacks.checkpoint import RunCheckpoint
from lasagna.tasks.callbacks.csv_logger import RunLogger
from lasagna.tasks.callbacks.prediction_sheet import PredictionSheet
from lasagna.tasks.callbacks.summary import RunSummary
from lasagna.tasks.reasoning import Reasoning
from lasagna.tasks.referring import Referring
from lasagna.tasks.semantic import Semantic
from lasagna.tasks.training.module import AssistantTraining
from lasagna.tasks.training.optimiser import Optimiser
from lasagna.tasks.vqa import VQA

__all__ = [
    "VQA",
    "AnswerWriter",
    "AssistantTraining",
    "Optimiser",
    "PredictionSheet",
    "Reasoning",
    "Referring",
    "RunCheckpoint",
    "RunLogger",
    "RunSummary",
    "Semantic",
    "Task",
]
