"""Accuracy of answers to questions."""

from __future__ import annotations

import re
from typing import Literal, get_args

from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.tasks.metrics.base import DialogueMetric, ratio

AnswerType = Literal["yes-no", "number", "other"]
ANSWER_TYPES: tuple[AnswerType, ...] = get_args(AnswerType)
ARTICLES = frozenset({"a", "an", "the"})
NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: str(number) for number, word in enumerate(NUMBER_WORDS)}


def normalise_answer(text: str) -> str:
    """Normalise an answer for comparison.

    Lower case, number words up to ten as digits, without punctuation (except decimal points), thousands separators and
    articles; an answer of only articles is kept.
    """
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.casefold())
    words = [NUMBERS.get(word, word) for word in re.sub(r"[^\w\s.]|\.(?!\d)", " ", text).split()]
    return " ".join([word for word in words if word not in ARTICLES] or words)


def answer_type(text: str) -> AnswerType:
    """Return the type of a true answer."""
    words = normalise_answer(text)
    if words in ("yes", "no"):
        return "yes-no"
    return "number" if re.fullmatch(r"\d*\.?\d+", words) else "other"


class AnswerAccuracy(DialogueMetric):
    """Share of right answers to questions, overall and by type of the true answer; higher is better, in [0, 1].

    Protocol ``lasagna-v1``: an answer is right if it equals the true one after both are normalised (lower case, number
    words as digits, no punctuation or articles). Each question has one true answer. The types yes-no, number and other
    are those of the VQA benchmark (Antol et al., arXiv 1505.00468), determined from the true answer; its consensus of
    ten annotators does not apply.

    Args:
        decoding: Which answers are scored; questions are always answered freely.
    """

    higher_is_better = True
    plot_upper_bound = 1.0
    right: Tensor
    questions: Tensor

    def __init__(self, decoding: Decoding = "ordered") -> None:
        super().__init__(decoding)
        self.add_sum("right", len(ANSWER_TYPES))
        self.add_sum("questions", len(ANSWER_TYPES))

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count one question."""
        kind = ANSWER_TYPES.index(answer_type(dialogue.text))
        self.right[kind] += int(normalise_answer(answer.text) == normalise_answer(dialogue.text))
        self.questions[kind] += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the accuracy over all questions and over each type."""
        by_type = ratio(self.right, self.questions)
        scores = {self.key("vqa_accuracy"): ratio(self.right.sum(), self.questions.sum())}
        return scores | {self.key("vqa_accuracy", kind): by_type[rank] for rank, kind in enumerate(ANSWER_TYPES)}
