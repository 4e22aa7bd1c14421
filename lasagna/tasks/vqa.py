"""Visual question answering: questions and conversations that are answered in words."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue
from lasagna.core.query_kind import QUESTION
from lasagna.core.record import Record, Turn
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import AnswerAccuracy, collect
from lasagna.tasks.targets import choose

Turns = Literal["together", "apart"]


class VQA(Task):
    """Questions of a record that are answered in words (Antol et al., arXiv 1505.00468).

    Score: accuracy, over all questions and by type of the answer.

    Args:
        questions: Maximum number of questions of a record, chosen at random; None for all.
        conversation: Whether the record's conversation is used too. Turn it off for data that is scored: long answers
            are hardly ever equal to the letter.
        turns: "together" to train on a conversation as one dialogue with several turns, which counts as one question,
            since later questions depend on earlier answers; "apart" for one dialogue each, for prompt formats with only
            one turn. Evaluation always asks each turn in a dialogue of its own.

    Raises:
        ValueError: If `turns` has another value.
    """

    kinds = (QUESTION,)

    def __init__(self, questions: int | None = 3, conversation: bool = True, turns: Turns = "together") -> None:
        if turns not in get_args(Turns):
            raise ValueError(f"VQA: `turns` must be 'together' or 'apart', got {turns!r}")
        self.questions = questions
        self.conversation = conversation
        self.turns = turns

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a dialogue for each chosen question or conversation."""
        questions = [question for question in record.questions if question.masks is None]
        found: list[tuple[Turn, ...]] = [(Turn(question.text, question.answer),) for question in questions]
        if self.conversation and record.conversation:
            together = self.turns == "together"
            found += [record.conversation] if together else [(turn,) for turn in record.conversation]
        chosen = choose(found, self.questions, rng)
        return [
            Dialogue(QUESTION, (first.question,), text=first.answer, later=tuple(later)) for first, *later in chosen
        ]

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return the accuracy; it needs no categories."""
        return collect([AnswerAccuracy()])
