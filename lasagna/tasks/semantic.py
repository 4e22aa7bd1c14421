"""Semantic segmentation: which of many categories are in the image, and where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Decoding, Dialogue, Entry
from lasagna.core.prompt_format import normalise
from lasagna.core.query_kind import CATEGORY_LIST
from lasagna.core.record import Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import AnswerOrder, DialogueMetric, MeanIoU, Presence, PresenceByLength, collect
from lasagna.tasks.targets import are_visible, askable_names


class Semantic(Task):
    """One list of categories for each record, the paper's complex query (LaSagnA, arXiv 2404.08506, section 3.1).

    The query lists, in the manifest's order, all categories that are known to be present or absent. Absent are those
    that are not annotated or, if the manifest leaves these unknown, those that the record lists as absent. Only present
    categories have entries; training strategies choose and order the names. Categories whose mask has only ignored
    pixels and categories that the record lists as unclear are left out.

    Scores: mean IoU and presence; with free decoding also those of free answers, and how complete these are.

    Args:
        free_decoding: Whether answers are also decoded and scored freely, besides the known order.
        one_pass: Whether answers are also those of the presence head, and how often it decides as the known order does.
        lengths: If given, presence is also scored by length of the query; the longest query of each group but the last,
            e.g. [4, 8, 16].
    """

    kinds = (CATEGORY_LIST,)

    def __init__(self, free_decoding: bool = False, lengths: Sequence[int] = (), one_pass: bool = False) -> None:
        further: dict[Decoding, bool] = {"free": free_decoding, "one_pass": one_pass}
        self.decoding = ("ordered", *(way for way, used in further.items() if used))
        self.lengths = tuple(lengths)

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return one list of categories, or none if there is nothing to ask for."""
        ignore = record.ignored()
        masks = record.category_masks()
        visible = are_visible(masks, ignore)
        unclear = {*record.unclear, *(name for name in masks if not visible[name])}
        present = {name: mask for name, mask in masks.items() if name not in unclear}
        hidden = set(map(normalise, unclear))
        askable = askable_names(record, present)
        query = [name for name in askable if normalise(name) not in hidden] if hidden else askable
        entries = [Entry(name, True, present[name]) for name in query if name in present]
        return [Dialogue(CATEGORY_LIST, tuple(query), tuple(entries), ignore=ignore)] if query else []

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return mean IoU and presence for each decoding, and the order of free answers."""
        metrics: list[DialogueMetric] = []
        for decoding in self.decoding:
            metrics += [MeanIoU(categories, decoding), Presence(decoding)]
            metrics += [PresenceByLength(self.lengths, decoding)] if self.lengths else []
            metrics += [AnswerOrder(decoding)] if decoding == "free" else []
        return collect(metrics)
