"""What waits for the assistant: images, queries about them, and conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lasagna.core.answer_parser import normalise
from lasagna.core.batch import Query
from lasagna.core.dialogue import Decoding
from lasagna.core.geometry import Geometry
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.query_kind import QUESTION
from lasagna.core.record import Turn
from lasagna.core.thresholds import completed
from lasagna.modules.encoded_images import EncodedImages

OBJECTS = 8
"""Masks that a name whose objects are told apart, and a caption, count as; ``ObjectMaskHead`` predicts as many."""


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """One image, or several that are shown together, as the input of the assistant's parts.

    Args:
        pixels: Input of the vision encoder, float ``[k, 3, H, W]``; the image that masks belong to comes first.
        tower: Input of the language model's own visual tower, float ``[k', ...]``, or None if it has none.
        geometry: How the image that masks belong to was fitted.
        shown: Positions of several images in the order in which they are shown, long ``[1, k]``; None for one.
    """

    pixels: Tensor
    tower: Tensor | None
    geometry: Geometry
    shown: Tensor | None = None

    @property
    def shapes(self) -> tuple[object, ...]:
        """What must be equal for images to be encoded together; those shown together are encoded by themselves."""
        own = None if self.shown is None else id(self)
        return self.pixels.shape, None if self.tower is None else self.tower.shape, own


@dataclass(frozen=True, eq=False)
class StoredImage:
    """One encoded image, or several that are shown together.

    Args:
        encoded: The image, encoded.
        geometry: How it was fitted.
        images: Number of images that are shown.
    """

    encoded: EncodedImages
    geometry: Geometry
    images: int = 1

    @property
    def shapes(self) -> tuple[torch.Size, ...]:
        """What must be equal for images to be asked about together."""
        return (
            torch.Size([self.images]),
            self.encoded.image_vectors.shape,
            *(maps.shape for maps in self.encoded.features),
        )

    @property
    def size(self) -> int:
        """Size in bytes."""
        return sum(part.nbytes for part in (self.encoded.image_vectors, *self.encoded.features))


@dataclass(frozen=True)
class AskedQuery:
    """A query and how it is answered.

    Args:
        query: The query.
        threshold: Score from which names without one of their own are called present; None for the assistant's own.
        decoding: How the answer is decoded.
    """

    query: Query
    threshold: float | None = None
    decoding: Decoding = "ordered"

    @property
    def decided(self) -> Query:
        """The query with the threshold of each name."""
        return completed(self.query, self.threshold)

    def with_defaults(self, thresholds: Mapping[str, float]) -> AskedQuery:
        """Return the query with thresholds of single names where it gives none itself.

        Args:
            thresholds: Those by name, in the spelling of ``normalise``; names that are not asked for are passed over.
        """
        if self.threshold is not None or self.query.kind.words or self.decoding == "free":
            return self
        given = self.query.thresholds or (None,) * len(self.query.names)
        pairs = zip(given, map(normalise, self.query.names), strict=True)
        cuts = tuple(thresholds.get(name) if cut is None else cut for cut, name in pairs)
        return self if set(cuts) <= {None} else replace(self, query=replace(self.query, thresholds=cuts))


@dataclass(frozen=True)
class JobResult:
    """What a job leaves.

    Args:
        image: The encoded image.
        answers: The answers to its queries as plain data (``answer_json``).
        text: The answer of a conversation.
    """

    image: StoredImage
    answers: tuple[dict[str, Any], ...] = ()
    text: str = ""


@dataclass(eq=False)
class Job:
    """An image to encode, unless it is encoded already, and queries to answer about it.

    Args:
        image: The image.
        queries: The queries; none if the image is only to be encoded.
        future: Gets the result, or the error.
    """

    image: PreparedImage | StoredImage
    queries: Sequence[AskedQuery] = ()
    future: Future[JobResult] = field(default_factory=Future)

    @property
    def mask_pixels(self) -> int:
        """Most pixels of all masks of the answers together; for several masks a name or captions, an estimate."""
        height, width = self.image.geometry.original
        kinds = [(asked.query.kind, len(asked.query.names)) for asked in self.queries]
        counts = (count * (OBJECTS if kind.objects or kind.grounded else 1) for kind, count in kinds)
        return height * width * sum(counts)


@dataclass(eq=False)
class Conversation(Job):
    """A question that is answered piece by piece.

    Args:
        question: The question.
        turns: The turns before it.
        emit: Called with each piece, in the engine's thread.
        stopped: Whether nobody waits for the answer any more.
    """

    question: str = ""
    turns: Sequence[Turn] = ()
    emit: Callable[[str], None] = lambda piece: None
    stopped: bool = False


def read_turns(prompt_format: PromptFormat, turns: Sequence[Turn]) -> list[tuple[str, str]]:
    """Return prompt and answer of each turn of a conversation, checked.

    Args:
        prompt_format: How they are written.
        turns: The turns.

    Raises:
        QueryError: If conversations have one turn in this format, or a text contains a token.
    """
    read = [prompt_format.later(turn) for turn in turns]
    if read:
        read[0] = (prompt_format.prompt(QUESTION, (turns[0].question,)), read[0][1])
    return read
