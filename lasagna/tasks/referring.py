"""Referring segmentation: a phrase that fits no, one or many things."""

from __future__ import annotations

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue
from lasagna.core.query_kind import REFERRING
from lasagna.core.record import Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import ReferringIoU, TeacherForcedIoU, collect
from lasagna.tasks.targets import choose, phrase_dialogue


class Referring(Task):
    """Phrases of a record, each in a query of its own (Liu et al., GRES, arXiv 2306.00968).

    The answer is the union of the things that the phrase fits, or absent. Phrases that fit only ignored pixels are left
    out. Scores: cIoU, gIoU, N-acc and T-acc.

    Args:
        phrases: Maximum number of phrases of a record, chosen at random; None for all, as benchmarks ask.
        teacher_forced: Whether masks are also scored with the answer "present" given to the model, as in published
            results.
    """

    kinds = (REFERRING,)

    def __init__(self, phrases: int | None = 3, teacher_forced: bool = False) -> None:
        self.decoding = ("ordered", "teacher_forced") if teacher_forced else ("ordered",)
        self.phrases = phrases

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a referring dialogue for each chosen phrase."""
        chosen = choose(record.phrases, self.phrases, rng)
        dialogues = [
            phrase_dialogue(REFERRING, one.text, one.masks, record, group=one.group, annotators=one.annotators)
            for one in chosen
        ]
        return [dialogue for dialogue in dialogues if dialogue is not None]

    def asks_all(self, record: Record) -> bool:
        """Return whether every phrase is asked for."""
        return self.phrases is None or len(record.phrases) <= self.phrases

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return the scores of gRefCOCO; they need no categories."""
        return collect([ReferringIoU(), *([TeacherForcedIoU()] if "teacher_forced" in self.decoding else [])])
