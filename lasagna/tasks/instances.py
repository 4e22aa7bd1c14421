"""Instance segmentation: every object of each name, with a mask and a score of its own."""

from __future__ import annotations

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_format import normalise
from lasagna.core.query_kind import INSTANCES, INSTANCES_BY_TOKEN
from lasagna.core.record import Record
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import AveragePrecision, ConceptF1, DialogueMetric, ObjectCount, Presence, collect
from lasagna.tasks.targets import askable_names, visible_objects


class Instances(Task):
    """One list of categories for each record; the answer has a mask for each object of the present ones.

    The query lists the categories whose objects are told apart, and those that are known to be absent, as ``Semantic``
    does. Categories of which the record has only pixels or crowds, such as stuff, are left out, and so are those that
    are unclear, and objects that are empty or have only ignored pixels.

    Without ``by_token``, give the assistant a mask head with several masks for each prompt, such as
    ``ObjectMaskHead``, and train it by ``ObjectLoss``. Scores: COCO's AP and AR, counts, those of
    SA-Co, and presence.

    Args:
        free_decoding: Whether answers are also decoded and scored freely, besides the known order.
        by_token: Whether each object has a token of its own in the answer, which prompts its mask. This takes a mask
            head with one mask for each prompt, and the ordinary loss.
    """

    def __init__(self, free_decoding: bool = False, by_token: bool = False) -> None:
        self.kind = INSTANCES_BY_TOKEN if by_token else INSTANCES
        self.kinds = (self.kind,)
        self.decoding = ("ordered", "free") if free_decoding else ("ordered",)

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return one list of categories, or none if there is nothing to ask for."""
        ignore, masks = record.ignored(), record.category_masks()
        regions = record.objects()
        objects = {name: visible_objects(region, ignore) for name, region in regions.items()}
        present = [name for name in objects if objects[name] and name not in record.unclear]
        hidden = {normalise(name) for name in (*masks, *record.unclear) if name not in present}
        query = [name for name in askable_names(record, present) if normalise(name) not in hidden]
        entries = [
            Entry(name, True, masks[name], objects[name], regions[name].crowds) for name in query if name in present
        ]
        return [Dialogue(self.kind, tuple(query), tuple(entries), ignore=ignore)] if query else []

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return AP and AR, counts, SA-Co's scores and presence for each decoding."""
        metrics: list[DialogueMetric] = []
        for decoding in self.decoding:
            metrics += [AveragePrecision(categories, decoding), ObjectCount(decoding)]
            metrics += [ConceptF1(decoding), Presence(decoding)]
        return collect(metrics)
