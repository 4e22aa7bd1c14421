"""Faults of free answers: whether they name what was asked for, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.core.prompt_format import Fault, normalise
from lasagna.tasks.metrics.base import DialogueMetric, ratio

FAULTS: tuple[str, ...] = get_args(Fault)


def count_faults(faults: Sequence[str]) -> list[int]:
    """Count faults by kind, in the order of ``FAULTS``.

    Raises:
        ValueError: If one is of an unknown kind.
    """
    unknown = sorted(set(faults) - set(FAULTS))
    if unknown:
        raise ValueError(f"faults: {unknown} are not among {list(FAULTS)}")
    return [list(faults).count(kind) for kind in FAULTS]


def is_complete(dialogue: Dialogue, answer: Answer) -> bool:
    """Return whether an answer has no fault and exactly the names of the query, in order."""
    query = [normalise(name) for name in dialogue.query]
    return not answer.faults and [normalise(entry.name) for entry in answer.entries] == query


class AnswerOrder(DialogueMetric):
    """Faults of free answers, and the share of answers without faults.

    Protocol ``lasagna-v1``: ``faults/.../<kind>`` is the number of faults of a kind over all answers (kinds:
    ``prompt_format.Fault``; lower is better, from 0); ``complete_in_order`` is the share of answers without faults that
    have one entry for each name of the query, in order (higher is better, in [0, 1]).

    Args:
        decoding: Which answers are scored; those of ordered decoding are complete by construction.
    """

    higher_is_better = None
    faults: Tensor
    complete: Tensor
    answers: Tensor

    def __init__(self, decoding: Decoding = "free") -> None:
        super().__init__(decoding)
        self.add_sum("faults", len(FAULTS))
        self.add_sum("complete")
        self.add_sum("answers")

    def update(self, dialogue: Dialogue, answer: Answer) -> None:
        """Count the faults of one answer.

        Raises:
            ValueError: If it has a fault of an unknown kind.
        """
        self.faults += torch.tensor(count_faults(answer.faults), device=self.faults.device)
        self.complete += int(is_complete(dialogue, answer))
        self.answers += 1

    def compute(self) -> dict[str, Tensor]:
        """Return the share of complete answers and the number of faults of each kind."""
        faults = dict(zip(FAULTS, self.faults.float(), strict=True))
        scores = {self.key("complete_in_order"): ratio(self.complete, self.answers)}
        return scores | {self.key("faults", kind): count for kind, count in faults.items()}
