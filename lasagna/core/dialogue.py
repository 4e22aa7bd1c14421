"""Dialogues that a task builds from a record.

Notation: H, W: height and width of the image in pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from lasagna.core.answer_parser import normalise
from lasagna.core.masks import Mask, UnionMask
from lasagna.core.object_order import objects_in_order
from lasagna.core.query_kind import QUESTION, QueryKind, kind_of
from lasagna.core.record import Record, Turn

Decoding = Literal["ordered", "free", "one_pass", "teacher_forced"]
"""How an answer is decoded: by deciding on each name in the order asked, by writing freely, by deciding on all names
where the query is read, or by giving the answer."""


@dataclass(frozen=True)
class Entry:
    """One category or phrase of an answer to learn.

    Args:
        name: The category or phrase, spelled as in the query.
        present: Whether it is in the image.
        mask: Its pixels, or None if it is absent.
        masks: One mask per object, where the query asks for objects.
        crowds: Groups of objects that are not told apart; they count neither for nor against an answer.
        span: Begin and end of the phrase in the dialogue's text, where masks stand among words; the end is exclusive.
        annotators: The objects as each further annotator drew them, for scores.
    """

    name: str
    present: bool
    mask: Mask | None = None
    masks: tuple[Mask, ...] = ()
    crowds: tuple[Mask, ...] = ()
    span: tuple[int, int] | None = None
    annotators: tuple[tuple[Mask, ...], ...] = ()


Target = tuple[Mask, Mask | None]
"""A mask to learn, and the pixels that do not count for it, or None if all count."""


@dataclass(frozen=True)
class Dialogue:
    """A query about one image and the answer to learn.

    The kind says whether the query lists names or is one phrase, and what answers it: entries with masks, words, words
    behind the mask, or words with masks among them, whose entries are phrases of the answer. Listed names without an
    entry are absent and left out of the answer.

    Args:
        kind: Kind of the query, or the name of one of the package's: "categories" (a list of names), "referring" and
            "reasoning" (a phrase), "reasoning_with_explanation" (a phrase; words follow the mask) and "question"
            (answered in words). The training strategies apply to lists of names only.
        query: Names asked for, in order.
        entries: Entries of the answer, in order.
        text: Answer in words, the words after the mask, or those that have masks among them, without marks.
        ignore: Pixels that count in no loss and no score, or None.
        wording: Numbers of the wordings of query and answer among those of the prompt format, modulo their count.
            Evaluation asks in the first ones, (0, 0), unless a strategy says otherwise.
        later: Further turns in words of the same conversation; the assistant learns to answer each after all before.
        group: What the phrase is about, for scores that take the phrases about one thing together.
    """

    kind: QueryKind
    query: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    text: str = ""
    ignore: Mask | None = None
    wording: tuple[int, int] = (0, 0)
    later: tuple[Turn, ...] = ()
    group: str = ""

    def __post_init__(self) -> None:
        """Turn the name of a kind into the kind."""
        object.__setattr__(self, "kind", kind_of(self.kind))

    @cached_property
    def targets(self) -> tuple[tuple[Target | None, ...], ...]:
        """The mask of each present token, or None without one, for each entry; absent entries have none.

        Where each object has a token, these are its objects in their order (``objects_in_order``), for which pixels of
        crowds do not count. An entry without such an object has one token, for all its pixels.
        """
        if self.kind.tokens:
            return tuple(self._objects(entry) if entry.present else () for entry in self.entries)
        return tuple(_whole(entry, self.ignore) if entry.present else () for entry in self.entries)

    @cached_property
    def decisions(self) -> tuple[bool | None, ...]:
        """For each name of the query whether the answer calls it present, or None if it does not say."""
        if not self.kind.decides:
            return (None,) * len(self.query)
        known = {normalise(entry.name): entry.present for entry in self.entries}
        return tuple(known.get(normalise(name)) for name in self.query)

    def _objects(self, entry: Entry) -> tuple[Target | None, ...]:
        if not entry.masks:
            return _whole(entry, self.ignore)
        parts = (*entry.crowds, *(() if self.ignore is None else (self.ignore,)))
        ignore = UnionMask(parts, shape=entry.masks[0].size) if entry.crowds else self.ignore
        masks = objects_in_order(entry.masks, None if ignore is None else ignore.decode(), self.kind.tokens)
        return tuple((mask, ignore) for mask in masks) or _whole(entry, self.ignore)

    def with_answer(self, query: Sequence[str], entries: Sequence[Entry]) -> Dialogue:
        """Return a copy with another query and other entries."""
        return replace(self, query=tuple(query), entries=tuple(entries))

    def apart(self) -> list[Dialogue]:
        """Return each turn as a dialogue of its own, as evaluation asks."""
        if not self.later:
            return [self]
        return [replace(self, later=()), *(Dialogue(QUESTION, (t.question,), text=t.answer) for t in self.later)]


def _whole(entry: Entry, ignore: Mask | None) -> tuple[Target | None, ...]:
    return (None if entry.mask is None else (entry.mask, ignore),)


class DialogueMaker(ABC):
    """Turns records into dialogues; the base of all tasks."""

    @abstractmethod
    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return the dialogues about a record; an empty list if it has nothing for this task.

        Args:
            record: The image with its annotations.
            rng: The generator of this record in this epoch.
        """
