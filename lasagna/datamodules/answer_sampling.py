"""Long questions with shorter answers, as the original code of LaSagnA trains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.datamodules.strategies import Strategy, sampled


class AnswerSampling(Strategy):
    """Answers all present names and a random part of the absent ones, up to a limit; all names are still asked for.

    Comes behind ``NegativeInjection``, which makes the entries of absent names. The original code (LaSagnA,
    ``utils/sem_seg_dataset.py``) asks for all classes of a data set and answers 80 of them; the paper answers what is
    asked, which is ``ClassSampling``.

    Args:
        limit: How many names are answered at most.
        crowded: How many present and how many absent names are answered at most where ``limit`` or more are present;
            None for ``limit`` of the present ones.

    Raises:
        ValueError: If ``limit`` is not positive, or ``crowded`` is negative, comes to none, or to more than ``limit``.
    """

    leaves_out_present = True

    def __init__(self, limit: int, crowded: tuple[int, int] | None = None) -> None:
        if limit < 1:
            raise ValueError(
                f"AnswerSampling: `limit` must be at least 1, got {limit}; leave the strategy out for none"
            )
        if crowded is not None and (min(crowded) < 0 or not 1 <= sum(crowded) <= limit):
            raise ValueError(
                "AnswerSampling: `crowded` is a number of present and one of absent names, from 1 to `limit` together, "
                f"which is {limit}, got {list(crowded)}"
            )
        self.limit = limit
        self.crowded = (limit, 0) if crowded is None else crowded

    def __call__(self, dialogue: Dialogue, rng: np.random.Generator) -> Dialogue:
        """Return the dialogue with at most ``limit`` entries, in their order."""
        if dialogue.kind != "complex":
            return dialogue
        there = [entry.name for entry in dialogue.entries if entry.present]
        absent = [entry.name for entry in dialogue.entries if not entry.present]
        is_crowded = len(there) >= self.limit
        present, silent = self.crowded if is_crowded else (len(there), self.limit - len(there))
        chosen = {*sampled(there, present, rng), *sampled(absent, silent, rng)}
        return dialogue.with_answer(dialogue.query, _named(dialogue.entries, chosen))


def _named(entries: Sequence[Entry], names: set[str]) -> list[Entry]:
    return [entry for entry in entries if entry.name in names]
