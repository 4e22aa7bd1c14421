"""Visual question answering: questions that are answered in words."""

from __future__ import annotations

import numpy as np
from torchmetrics import MetricCollection

from lasagna.dialogue import Dialogue
from lasagna.record import Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import AnswerAccuracy, collect
from lasagna.tasks.targets import draw


class VQA(Task):
    """Some questions of a record that are answered in words alone (Antol et al., arXiv 1505.00468).

    Score: accuracy, over all questions and by type of the answer.

    Args:
        questions: Questions of a record at most, random ones.
        talk: Whether the turns of a record's talk are questions too, each by itself. Leave it off for data that is
            scored: long answers are hardly ever equal to the letter.
    """

    def __init__(self, questions: int = 3, talk: bool = True) -> None:
        self.questions = questions
        self.talk = talk

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a question with its answer for each that was chosen."""
        pairs = [(question.text, question.answer) for question in record.questions if question.masks is None]
        pairs += [(turn.question, turn.answer) for turn in record.talk if self.talk]
        chosen = draw(pairs, self.questions, rng)
        return [Dialogue("question", (question,), text=answer) for question, answer in chosen]

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return the accuracy; it needs no categories."""
        return collect([AnswerAccuracy()])
