"""How often a presence head decides as the written answer does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lasagna.core.answer import Answer
from lasagna.core.dialogue import Decoding, Dialogue
from lasagna.tasks.metrics.base import DialogueMetric, answered_by_name, ratio


class DecisionAgreement(DialogueMetric):
    """The share of names that are decided alike in one pass and in the known order (protocol ``lasagna-v1``).

    Both answers are given to ``update``. The truth plays no part in it; higher is better, in [0, 1].
    """

    decodings: ClassVar[tuple[Decoding, ...]] = ("one_pass",)
    higher_is_better = True
    plot_upper_bound = 1.0
    counts: Tensor

    def __init__(self) -> None:
        super().__init__("one_pass")
        self.add_sum("counts", 2)

    def update(self, dialogue: Dialogue, answer: Answer, *ordered: Answer) -> None:
        """Count the names of one query.

        Args:
            dialogue: The query.
            answer: The answer in one pass.
            ordered: The answer in the known order.
        """
        if not dialogue.kind.decides:
            return
        [other] = map(answered_by_name, ordered)
        same = [entry.present == other[name].present for name, entry in answered_by_name(answer).items()]
        self.counts += torch.tensor([sum(same), len(same)], device=self.counts.device)

    def update_all(self, dialogues: Sequence[Dialogue], answers: Mapping[Decoding, Sequence[Answer]]) -> None:
        """Count the names of several queries.

        Args:
            dialogues: The queries.
            answers: Decoding to one answer for each query.
        """
        for parts in zip(dialogues, answers["one_pass"], answers["ordered"], strict=True):
            self.update(*parts)

    def compute(self) -> dict[str, Tensor]:
        """Return the share."""
        return {self.key("agreement"): ratio(*self.counts)}


def compares(decodings: Collection[Decoding]) -> bool:
    """Return whether answers are decoded both in one pass and in the known order.

    Args:
        decodings: How they are decoded.
    """
    return {"ordered", "one_pass"} <= set(decodings)
