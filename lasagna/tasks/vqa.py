"""Visual question answering: questions that are answered in words."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue
from lasagna.core.record import Record, Turn
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import AnswerAccuracy, collect
from lasagna.tasks.targets import draw

Rounds = Literal["together", "apart"]


class VQA(Task):
    """Some questions of a record that are answered in words alone (Antol et al., arXiv 1505.00468).

    Score: accuracy, over all questions and by type of the answer.

    Args:
        questions: Questions of a record at most, random ones.
        talk: Whether a record's talk is asked too. Leave it off for data that is scored: long answers are hardly ever
            equal to the letter.
        rounds: "together" to train on a talk as one dialogue of several rounds, which counts as one question, since its
            questions lean on the answers before them; "apart" for a dialogue each, for prompt formats that hold one
            round in a row. Evaluation asks each by itself in any case.

    Raises:
        ValueError: If `rounds` is neither.
    """

    def __init__(self, questions: int = 3, conversation: bool = True, rounds: Rounds = "together") -> None:
        if rounds not in get_args(Rounds):
            raise ValueError(f"VQA: `rounds` must be 'together' or 'apart', got {rounds!r}")
        self.questions = questions
        self.conversation = conversation
        self.rounds = rounds

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a question with its answer, or a talk, for each that was chosen."""
        found = [(Turn(question.text, question.answer),) for question in record.questions if question.masks is None]
        chosen = draw([*found, *self._talks(record)], self.questions, rng)
        return [
            Dialogue("question", (first.question,), text=first.answer, later=tuple(later)) for first, *later in chosen
        ]

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return the accuracy; it needs no categories."""
        return collect([AnswerAccuracy()])

    def _talks(self, record: Record) -> list[tuple[Turn, ...]]:
        if not (self.conversation and record.conversation):
            return []
        return [record.conversation] if self.rounds == "together" else [(turn,) for turn in record.conversation]
