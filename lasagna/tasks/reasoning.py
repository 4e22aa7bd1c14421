"""Reasoning segmentation: what an indirect description means."""

from __future__ import annotations

import numpy as np
from torchmetrics import MetricCollection

from lasagna.dialogue import Dialogue
from lasagna.record import Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import ReasoningIoU, TeacherForcedIoU, collect
from lasagna.tasks.targets import draw, phrase_dialogue


class Reasoning(Task):
    """Some questions of a record that are answered by masks (Lai et al., LISA, arXiv 2308.00692).

    The answer is the union of a question's masks, or absent. Questions answered by ignored pixels alone are left out.
    Scores: cIoU and gIoU.

    Args:
        questions: Questions of a record at most, random ones.
        teacher_forced: Whether to score also what comes of giving the model the answer that the phrase is there, as
            published numbers are made.
    """

    def __init__(self, questions: int = 2, teacher_forced: bool = False) -> None:
        self.decoding = ("ordered", "forced") if teacher_forced else ("ordered",)
        self.questions = questions

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a reasoning dialogue for each chosen question."""
        found = [(question.text, question.masks) for question in record.questions if question.masks is not None]
        chosen = draw(found, self.questions, rng)
        dialogues = [phrase_dialogue("reasoning", text, masks, record) for text, masks in chosen]
        return [dialogue for dialogue in dialogues if dialogue is not None]

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return the scores of LISA; they need no categories."""
        return collect([ReasoningIoU(), *([TeacherForcedIoU()] if "forced" in self.decoding else [])])
