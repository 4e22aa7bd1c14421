"""Semantic segmentation: which of many categories are in the picture, and where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Decoding, Dialogue, Entry
from lasagna.core.masks import Mask
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import AnswerOrder, DialogueMetric, MeanIoU, Presence, PresenceByLength, collect
from lasagna.tasks.targets import are_there


class Semantic(Task):
    """One complex query a record (LaSagnA, arXiv 2404.08506, section 3.1).

    The query lists, in the manifest's order, all categories that are present or may be called absent: those not
    annotated, or, where that means unknown, those the record names as absent. The entries are the present ones; the
    training strategies choose and order. A category no pixel of whose mask counts is neither, and not asked for; nor is
    one that the record names as unclear.

    Scores: mean IoU and presence; with free decoding the same over free answers, and how complete these are.

    Args:
        free_decoding: Whether to decode and score freely too, beside the known order.
        lengths: Where given, presence is scored apart by length of the query as well; the longest query of each
            group but the last, e.g. [4, 8, 16].
    """

    def __init__(self, free_decoding: bool = False, lengths: Sequence[int] = ()) -> None:
        self.decoding = ("ordered", "free") if free_decoding else ("ordered",)
        self.lengths = tuple(lengths)

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return one complex dialogue, or none if there is nothing to ask for."""
        ignore = record.ignored()
        masks = record.category_masks()
        there = are_there(masks, ignore)
        unclear = {*record.unclear, *(name for name in masks if not there[name])}
        present = {name: mask for name, mask in masks.items() if name not in unclear}
        hidden = set(map(normalise, unclear))
        askable = _askable(record, present)
        query = [name for name in askable if normalise(name) not in hidden] if hidden else askable
        entries = [Entry(name, True, present[name]) for name in query if name in present]
        return [Dialogue("categories", tuple(query), tuple(entries), ignore=ignore)] if query else []

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return mean IoU and presence for each decoding, and the order of free answers."""
        return collect([metric for decoding in self.decoding for metric in self._metrics(categories, decoding)])

    def _metrics(self, categories: tuple[str, ...], decoding: Decoding) -> list[DialogueMetric]:
        metrics: list[DialogueMetric] = [MeanIoU(categories, decoding), Presence(decoding)]
        metrics += [PresenceByLength(self.lengths, decoding)] if self.lengths else []
        return [*metrics, AnswerOrder(decoding)] if decoding == "free" else metrics


def _askable(record: Record, present: dict[str, Mask]) -> list[str]:
    manifest = record.manifest
    categories = _by_form(manifest.categories)
    known = {} if manifest.unannotated == "unknown" else categories.copy()
    known |= {normalise(name): name for name in (*record.absent, *present)}
    order = [known.pop(form) for form in categories if form in known]
    return order + list(known.values())


@lru_cache(maxsize=64)  # those of a data set come again with every record
def _by_form(names: tuple[str, ...]) -> dict[str, str]:
    return {normalise(name): name for name in names}
