"""The control "counterfactual": the same questions about an image and its twin, in which one thing was exchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from lasagna.core.dialogue import Dialogue
from lasagna.core.image_pairs import Side, pair_group
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Record
from lasagna.core.seeding import generator
from lasagna.datamodules import RecordSource, Source
from lasagna.datamodules.pasted_twins import PastedTwins
from lasagna.datamodules.scenes.twins import DrawnTwins
from lasagna.datamodules.shards.codec import decode_record, encode_record, record_key, sample_key
from lasagna.datamodules.shards.reader import RawSample, ShardSplit
from lasagna.datamodules.streaming.sample import ask_record, stored_manifest
from lasagna.datamodules.twins import Twin, TwinMaker
from lasagna.tasks import Task
from lasagna.tasks.evaluation import Control
from lasagna.tasks.evaluation.runs import EvaluationRun, EvaluationSample
from lasagna.tasks.metrics import CounterfactualIoU, DialogueMetric, DrawnPairIoU, PastedPairIoU, Presence
from lasagna.tasks.targets import phrase_dialogue

COUNTERFACTUAL: Control = "counterfactual"

OF_TWIN = "~twin"
"""End of the key of a twin."""

METRICS: dict[str, type[CounterfactualIoU]] = {"drawn": DrawnPairIoU, "pasted": PastedPairIoU}
"""How twins are made, to the metric of pairs."""

_RECORD = "__record__"


def twin_maker(source: RecordSource) -> TwinMaker | None:
    """Return what makes the twins of a source's records; None if nothing does.

    Scenes are drawn again with another thing. On other images, objects of other records are pasted, for which the
    shards must be on disk or cached.

    Args:
        source: The source.
    """
    if not isinstance(source, Source):
        return None
    drawn = DrawnTwins.of_settings(source.shard_set.settings)
    if drawn is not None:
        return drawn
    return None if source.folder.place is None else PastedTwins(source)


def can_ask(task: Task) -> bool:
    """Return whether a task asks for things by their names, in lists or by phrases.

    Args:
        task: The task.
    """
    return any(kind.many for kind in task.kinds) or task.naming_kind() is not None


@dataclass(frozen=True, eq=False)
class CounterfactualRun(EvaluationRun):
    """One pass over the records of a source and their twins.

    On both images of a pair, both categories are asked for: the one that was exchanged and the one in its place, each
    in a query of its own, as an entry of a list or by the phrase "the" with its name, in the wording of the source's
    strategies. Records without a twin are left out, and so are pairs of which the source's transforms hide a thing.

    Args:
        twins: Makes the twins.
    """

    twins: TwinMaker | None = None

    @classmethod
    def of_run(cls, run: EvaluationRun, twins: TwinMaker) -> Self:
        """Return the run over twins that belongs to a run.

        Args:
            run: The run without controls.
            twins: Makes the twins.
        """
        return cls(
            run.source,
            run.task,
            run.strategies,
            run.seed,
            run.decodings[:1],
            controls=(COUNTERFACTUAL,),
            broken=run.broken,
            limit=run.limit,
            twins=twins,
        )

    def raw(self, share: ShardSplit = ShardSplit()) -> Iterator[RawSample]:  # noqa: B008 - frozen
        """Yield a share of the records, each followed by a sample that stands for its twin."""
        for raw in super().raw(share):
            yield raw
            key = sample_key(record_key(raw) + OF_TWIN)
            yield {"__key__": key, "__url__": raw["__url__"], _RECORD: raw}

    def asks_all(self, record: Record) -> bool:
        """Return True, since a pair is always asked about completely."""
        return True

    def own_metrics(self) -> list[DialogueMetric]:
        """Return the metric of pairs, and that of presence."""
        assert self.twins is not None
        pairs = METRICS[self.twins.way]
        return [metric(decoding) for decoding in self.decodings for metric in (pairs, Presence)]

    def _ask(self, raw: RawSample) -> EvaluationSample | None:
        stored = raw.get(_RECORD, raw)
        place = f"{stored['__url__']}/{stored['__key__']}"
        if place not in self._last_pair:
            self._last_pair.clear()
            self._last_pair[place] = self._pair(stored)
        return self._last_pair[place].get("counterfactual" if _RECORD in raw else "factual")

    @cached_property
    def _last_pair(self) -> dict[str, Mapping[Side, EvaluationSample]]:
        """The last pair by its place, since an image and its twin are asked about one after the other."""
        return {}

    def _pair(self, stored: RawSample) -> Mapping[Side, EvaluationSample]:
        """Return what is asked about both images of a pair; nothing if there is none."""
        record = decode_record(stored, stored_manifest(self.source))
        assert self.twins is not None
        twin = self.twins(record, generator(self.seed, 0, f"counterfactual/{self.source.label}/{record.key}"))
        if twin is None:
            return {}
        other = {"__key__": sample_key(record.key), "__url__": stored["__url__"], **encode_record(twin.record)}
        sides: dict[Side, RawSample] = {"factual": stored, "counterfactual": other}
        asked = {side: one for side, raw in sides.items() if (one := self._side(raw, twin, side)) is not None}
        return asked if len(asked) == 2 else {}

    def _said(self, name: str) -> str:
        """Return the name that the transforms of the source give a category."""
        return self.source.said(name) if isinstance(self.source, Source) else name

    def _side(self, raw: RawSample, twin: Twin, side: Side) -> EvaluationSample | None:
        """Return what is asked about one image of a pair; None unless one of both categories is there."""
        record, dialogues = ask_record(raw, self.source, lambda dialogue, _: dialogue, seed=self.seed)
        group, names = pair_group(record.key, side), tuple(map(self._said, (twin.name, twin.other)))
        if any(kind.many for kind in self.task.kinds):
            asked = [one for name in names if (one := _in_list(dialogues, name)) is not None]
        else:
            asked = [one for name in names if (one := _by_phrase(self.task, record, name)) is not None]
        present = [any(entry.present for entry in dialogue.entries) for dialogue in asked]
        if present != [side == "factual", side != "factual"]:
            return None
        rng = generator(self.seed, 0, f"counterfactual/{self.source.label}/{record.key}/wording")
        worded = tuple(self._worded(replace(one, group=group), rng) for one in asked)
        return EvaluationSample(replace(record, key=record.key if side == "factual" else record.key + OF_TWIN), worded)


def _in_list(dialogues: list[Dialogue], name: str) -> Dialogue | None:
    """Return the query for one name of a list; None if no list asks for it."""
    for dialogue in dialogues:
        if dialogue.kind.many and dialogue.kind.masks and normalise(name) in map(normalise, dialogue.query):
            return dialogue.with_answer([name], [entry for entry in dialogue.entries if entry.name == name])
    return None


def _by_phrase(task: Task, record: Record, name: str) -> Dialogue | None:
    """Return the query for a category by a phrase; None if all of its pixels are ignored."""
    kind, masks = task.naming_kind(), record.category_masks()
    assert kind is not None
    return phrase_dialogue(kind, f"the {name}", [masks[name]] if name in masks else [], record)
