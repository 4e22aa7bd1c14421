"""Reasoning segmentation: an indirect description that does not name what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.answer import Answer
from lasagna.core.batch import Sample
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.query_kind import QUESTION, REASONING, REASONING_WITH_EXPLANATION, REFERRING, QueryKind
from lasagna.core.record import Question, Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import ReasoningIoU, TeacherForcedIoU, collect
from lasagna.tasks.targets import choose, phrase_dialogue


class Reasoning(Task):
    """Questions of a record that are answered by masks (Lai et al., LISA, arXiv 2308.00692).

    The answer is the union of a question's masks, or absent. Questions whose masks have only ignored pixels are left
    out. If a question comes with an explanation in words, that can be learned too; LaSagnA and LISA train on 45 % of
    these questions with mask and explanation, and on 10 % with only the words. Scores: cIoU and gIoU of the masks.

    Args:
        questions: Maximum number of questions of a record, chosen at random; None for all, as benchmarks ask.
        explained: Share of the questions with an explanation that are answered by mask and explanation.
        in_words: Share of the questions with an explanation that are answered only by it, without a mask.
        phrase_kind: Kind of the questions that are phrases ("phrase" in ReasonSeg) and are asked as referring
            expressions; empty if all are asked as questions.
        teacher_forced: Whether masks are also scored with the answer "present" given to the model, as in published
            results.

    Raises:
        ValueError: If a share is negative, or their sum is more than 1.
    """

    def __init__(
        self,
        questions: int | None = 2,
        explained: float = 0.0,
        in_words: float = 0.0,
        phrase_kind: str = "",
        teacher_forced: bool = False,
    ) -> None:
        if not (explained >= 0 and in_words >= 0 and explained + in_words <= 1):
            raise ValueError(
                "Reasoning: `explained` and `in_words` are shares of the same questions, each at least 0 and together "
                f"at most 1, got {explained} and {in_words}"
            )
        self.decoding = ("ordered", "teacher_forced") if teacher_forced else ("ordered",)
        self.questions = questions
        self.explained = explained
        self.in_words = in_words
        self.phrase_kind = phrase_kind
        used = {REASONING: True, REFERRING: phrase_kind, REASONING_WITH_EXPLANATION: explained, QUESTION: in_words}
        self.kinds = tuple(kind for kind, asked in used.items() if asked)

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a dialogue for each chosen question."""
        chosen = choose(_masked(record), self.questions, rng)
        dialogues = [self._dialogue(question, record, rng) for question in chosen]
        return [dialogue for dialogue in dialogues if dialogue is not None]

    def asks_all(self, record: Record) -> bool:
        """Return whether every question is asked, and for a mask."""
        return self.in_words == 0 and (self.questions is None or len(_masked(record)) <= self.questions)

    def naming_kind(self) -> QueryKind | None:
        """Return the kind of the questions that are phrases; the others name nothing."""
        return REFERRING if self.phrase_kind else None

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return the scores of LISA; they need no categories."""
        return collect([ReasoningIoU(), *([TeacherForcedIoU()] if "teacher_forced" in self.decoding else [])])

    def score(
        self,
        metrics: MetricCollection,
        samples: Sequence[Sample],
        answers: Sequence[Answer],
        decoding: Decoding = "ordered",
    ) -> None:
        """Update the metrics with the answers that should have a mask."""
        masked = [
            (sample, answer) for sample, answer in zip(samples, answers, strict=True) if sample.dialogue.kind.masks
        ]
        super().score(metrics, [sample for sample, _ in masked], [answer for _, answer in masked], decoding)

    def _dialogue(self, question: Question, record: Record, rng: np.random.Generator) -> Dialogue | None:
        kind = self._kind(question, rng)
        dialogue = phrase_dialogue(kind, question.text, question.masks or (), record, group=question.group)
        if not kind.masks:
            return Dialogue(kind, (question.text,), text=question.answer)
        return replace(dialogue, text=question.answer) if dialogue and kind.words else dialogue

    def _kind(self, question: Question, rng: np.random.Generator) -> QueryKind:
        # draw nothing unless explanations are used, so that the random numbers of other runs stay the same
        if question.answer and self.explained + self.in_words > 0:
            drawn = rng.random()
            if drawn < self.in_words:
                return QUESTION
            if drawn < self.in_words + self.explained:
                return REASONING_WITH_EXPLANATION
        return REFERRING if self.phrase_kind and question.kind == self.phrase_kind else REASONING


def _masked(record: Record) -> list[Question]:
    return [question for question in record.questions if question.masks is not None]
