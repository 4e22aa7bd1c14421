"""Panoptic segmentation: every pixel belongs to an object or to stuff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torchmetrics import MetricCollection

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import Mask
from lasagna.core.prompt_format import normalise
from lasagna.core.query_kind import PANOPTIC, PANOPTIC_BY_TOKEN
from lasagna.core.record import Record, Region
from lasagna.errors import ConfigError
from lasagna.tasks.base import Task
from lasagna.tasks.metrics import DialogueMetric, MeanIoU, PanopticQuality, Presence, collect
from lasagna.tasks.targets import are_visible, askable_names, visible_objects


class Panoptic(Task):
    """One list of categories for each record; the answer has a mask for each thing and one for each kind of stuff.

    The query lists the categories as ``Semantic`` does. Stuff is one object. Things whose objects a record does not
    tell apart are crowds.

    Without ``by_token``, give the assistant a mask head with several masks for each prompt, such as
    ``ObjectMaskHead``, and train it by ``ObjectLoss``. Scores: PQ, SQ and RQ, mean IoU and presence.

    Args:
        stuff: Categories whose objects are not told apart, such as sky; all others are things.
        free_decoding: Whether answers are also decoded and scored freely, besides the known order.
        by_token: Whether each object has a token of its own in the answer, which prompts its mask. This takes a mask
            head with one mask for each prompt, and the ordinary loss.
    """

    def __init__(self, stuff: Sequence[str] = (), free_decoding: bool = False, by_token: bool = False) -> None:
        self.kind = PANOPTIC_BY_TOKEN if by_token else PANOPTIC
        self.kinds = (self.kind,)
        self.stuff = tuple(stuff)
        self._forms = frozenset(map(normalise, stuff))
        self.decoding = ("ordered", "free") if free_decoding else ("ordered",)

    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return one list of categories, or none if there is nothing to ask for."""
        ignore, masks, objects = record.ignored(), record.category_masks(), record.objects()
        visible = are_visible(masks, ignore)
        hidden = {normalise(name) for name in masks if not visible[name]}
        hidden |= set(map(normalise, record.unclear))
        present = [name for name in masks if normalise(name) not in hidden]
        query = [name for name in askable_names(record, present) if normalise(name) not in hidden]
        entries = [self._entry(name, masks[name], objects.get(name), ignore) for name in query if name in present]
        return [Dialogue(self.kind, tuple(query), tuple(entries), ignore=ignore)] if query else []

    def _entry(self, name: str, mask: Mask, region: Region | None, ignore: Mask | None) -> Entry:
        if normalise(name) in self._forms:
            return Entry(name, True, mask, (mask,))
        objects = () if region is None else visible_objects(region, ignore)
        if region is None or not objects:
            return Entry(name, True, mask, (), (mask,))
        return Entry(name, True, mask, objects, region.crowds)

    def metrics(self, categories: tuple[str, ...]) -> MetricCollection:
        """Return PQ, SQ and RQ, mean IoU and presence for each decoding.

        Raises:
            ConfigError: If a name in ``stuff`` is no category of the data set.
        """
        unknown = sorted(self._forms - set(map(normalise, categories)))
        if unknown:
            raise ConfigError(f"stuff: {unknown} are no categories of the data set; it has {', '.join(categories)}")
        metrics: list[DialogueMetric] = []
        for decoding in self.decoding:
            metrics += [PanopticQuality(categories, self.stuff, decoding), MeanIoU(categories, decoding)]
            metrics += [Presence(decoding)]
        return collect(metrics)
