"""Concepts: every object that a noun phrase fits, with a mask and a score of its own."""

from __future__ import annotations

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import UnionMask
from lasagna.core.prompt_formats import name_error
from lasagna.core.query_kind import INSTANCES, INSTANCES_BY_TOKEN
from lasagna.core.record import Phrase, Record, Region
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import ConceptF1, ObjectCount, Presence, collect
from lasagna.tasks.targets import choose, visible_objects


class Concepts(Task):
    """Phrases of a record, each a list of one name, whose answer has a mask for each object (SAM 3, arXiv 2511.16719).

    An assistant that was trained by ``Instances`` answers them. Left out are phrases that a list cannot hold, such as
    those with commas, and phrases that fit only ignored pixels. Scores: those of SA-Co, which take the annotator who
    agrees best, counts and presence.

    Args:
        phrases: Maximum number of phrases of a record, chosen at random; None for all, as benchmarks ask.
        by_token: Whether each object has a token of its own in the answer, as in ``Instances``.
    """

    def __init__(self, phrases: int | None = None, by_token: bool = False) -> None:
        self.phrases = phrases
        self.kind = INSTANCES_BY_TOKEN if by_token else INSTANCES
        self.kinds = (self.kind,)

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return a list of one name for each chosen phrase."""
        listable = [phrase for phrase in record.phrases if not name_error(phrase.text)]
        found = [self._dialogue(phrase, record) for phrase in choose(listable, self.phrases, rng)]
        return [dialogue for dialogue in found if dialogue is not None]

    def asks_all(self, record: Record) -> bool:
        """Return whether every phrase is asked for."""
        listable = [phrase for phrase in record.phrases if not name_error(phrase.text)]
        return len(listable) == len(record.phrases) and (self.phrases is None or len(listable) <= self.phrases)

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return SA-Co's scores, counts and presence; they need no categories."""
        return collect([ConceptF1(), ObjectCount(), Presence()])

    def _dialogue(self, phrase: Phrase, record: Record) -> Dialogue | None:
        text, ignore, entries = phrase.text, record.ignored(), list[Entry]()
        if phrase.masks:
            objects = visible_objects(Region.of_objects(text, phrase.masks), ignore)
            if not objects:
                return None
            union = UnionMask(objects, shape=record.size)
            entries = [Entry(text, True, union, objects, annotators=phrase.annotators)]
        elif phrase.annotators:
            entries = [Entry(text, False, annotators=phrase.annotators)]
        return Dialogue(self.kind, (text,), tuple(entries), ignore=ignore)
