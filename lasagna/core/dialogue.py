"""Dialogues that a task builds from a record, and answers that the assistant gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.masks import BoolMask, Mask
from lasagna.core.overlaps import OverlapMap
from lasagna.core.record import Record, Turn

Kind = Literal["categories", "referring", "reasoning", "reasoning_with_explanation", "question"]

Decoding = Literal["ordered", "free", "teacher_forced"]
"""How an answer is decoded: by deciding on each name in the order asked, by writing freely, or by giving the answer."""


@dataclass(frozen=True)
class Entry:
    """One category or phrase of an answer.

    Args:
        name: The category or phrase, as it was asked for.
        present: Whether it is in the picture.
        mask: Where it is, or None if it is absent.
    """

    name: str
    present: bool
    mask: Mask | None = None


@dataclass(frozen=True)
class Dialogue:
    """A query about one image and the answer to learn.

    A complex query lists names, and its answer has one entry a name; a name without an entry is absent and left out.
    A referring or reasoning query has one name, the phrase itself; an explained one is a reasoning query whose answer
    goes on in words. A question has one name, and is answered in words alone.

    Args:
        kind: Which kind of query it is; the training strategies apply to complex ones alone.
        query: What is asked for, in the order asked.
        entries: The answer's entries, in the order answered.
        text: The answer in words (of questions), or the words behind the mask (of explained queries).
        ignore: Pixels that count in no loss and no score, or None.
        wording: Numbers of the wordings of question and answer, counted round and round among those of the prompt
            format; (0, 0) for the first ones, in which evaluation asks.
        later: Rounds in words that follow in the same talk; the assistant learns to answer each with all before it.
    """

    kind: Kind
    query: tuple[str, ...]
    entries: tuple[Entry, ...] = ()
    text: str = ""
    ignore: Mask | None = None
    wording: tuple[int, int] = (0, 0)
    later: tuple[Turn, ...] = ()

    def with_answer(self, query: Sequence[str], entries: Sequence[Entry]) -> Dialogue:
        """Return a copy with another query and other entries."""
        return replace(self, query=tuple(query), entries=tuple(entries))

    def apart(self) -> list[Dialogue]:
        """Return each round as a dialogue of its own, as evaluation asks."""
        later = [Dialogue("question", (turn.question,), text=turn.answer) for turn in self.later]
        return [replace(self, later=()), *later] if later else [self]


class DialogueMaker(ABC):
    """Whatever turns records into dialogues; tasks do."""

    @abstractmethod
    def dialogues(self, record: Record, rng: np.random.Generator) -> list[Dialogue]:
        """Return the dialogues to hold about a record; none if it has nothing for this task.

        Args:
            record: The image with its annotations.
            rng: The generator that belongs to this record in this epoch.
        """


@dataclass(frozen=True)
class AnsweredEntry:
    """One entry of the assistant's answer.

    Args:
        name: The category or phrase, as it was asked for.
        present: Whether the assistant says that it is in the picture.
        score: Probability of ``<SEG>`` against ``<NEG>``, in [0, 1].
        mask: Bool ``[H, W]`` of the image's own size, or None if absent.
        confidence: Mean probability of the pixels inside the mask, in [0, 1]; 0 if absent or empty.
        probability: Probability of each pixel, float16 ``[H, W]``, or None; settles overlaps where the answer does not
            say itself which mask lies on top.
    """

    name: str
    present: bool
    score: float
    mask: BoolMask | None = None
    confidence: float = 0.0
    probability: NDArray[np.float16] | None = None


@dataclass(frozen=True)
class Answer:
    """What the assistant answered to one query.

    Args:
        text: The answer as it was written.
        entries: Its entries in the order written.
        faults: What was wrong with it (see ``prompt_format.Fault``); always empty for ordered decoding.
        top: Which entry's mask lies on top at each pixel, ranks being positions in ``entries``; where scores need it to
            settle overlaps, else None.
    """

    text: str
    entries: tuple[AnsweredEntry, ...] = ()
    faults: tuple[str, ...] = ()
    top: OverlapMap | None = None
