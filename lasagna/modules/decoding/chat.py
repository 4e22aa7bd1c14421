"""A talk about one image, which is encoded once for all that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lasagna.core.batch import Query
from lasagna.core.dialogue import Answer, Kind
from lasagna.core.geometry import Geometry
from lasagna.core.prompt_format import PromptFormat
from lasagna.modules.base import EncodedImages
from lasagna.modules.contract import check_queries
from lasagna.modules.decoding.cache import ChatHistory
from lasagna.modules.decoding.decoder import DecodedAnswer, Decoder


class Answerer(Protocol):
    """What a talk needs of an assistant."""

    format: PromptFormat

    @property
    def decoder(self) -> Decoder:
        """What decodes answers."""

    def encode_image(self, image: NDArray[np.uint8]) -> tuple[EncodedImages, Geometry]:
        """Encode one image, and say how it was fitted."""

    def answer_batch(
        self,
        encoded: EncodedImages,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        decoding: Literal["ordered", "free"] = "ordered",
    ) -> list[Answer]:
        """Answer queries about encoded images."""

    def draw(
        self,
        encoded: EncodedImages,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        answered: Sequence[DecodedAnswer],
    ) -> list[Answer]:
        """Draw the masks of decoded answers."""


@dataclass(frozen=True)
class ChatTurn:
    """One question and its answer.

    Args:
        kind: Kind of the query.
        names: What was asked for: the names of a list, or the one phrase or question.
        answer: Text, and for each name whether it is there, a score, a mask and its confidence.
    """

    kind: Kind
    names: tuple[str, ...]
    answer: Answer


class Chat:
    """Asks an assistant about one image, round after round.

    Args:
        assistant: Who answers.
        image: The image, uint8 ``[H, W, 3]``; encoded here, once.
        remember: Whether the language model reads the earlier rounds before it answers the next one. Otherwise each
            round is asked by itself, as this package trains it. What was read stays in the key-value cache, so that a
            round costs no more for those before it. A list that does not fit behind them is refused, not split.

    Attributes:
        rounds: What was asked and answered so far.

    Raises:
        RecordError: If the image is none, or of another form.
        QueryError: If the prompt format has no further rounds to remember.
    """

    def __init__(self, assistant: Answerer, image: NDArray[np.uint8], remember: bool = False) -> None:
        if remember:
            assistant.format.further_prompt("question", ["?"])
        self.assistant = assistant
        self.earlier = ChatHistory() if remember else None
        self.encoded, self.geometry = assistant.encode_image(image)
        self.rounds: list[ChatTurn] = []

    def ask(
        self, text: str | Sequence[str], kind: Kind = "question", decoding: Literal["ordered", "free"] = "ordered"
    ) -> ChatTurn:
        """Ask something, and add the round to the talk.

        Args:
            text: A question, a phrase, or the names of a list.
            kind: "question", "referring", "reasoning", "reasoning_with_explanation" (decode it freely) or "categories".
            decoding: "ordered" or "free"; questions are always answered freely.

        Raises:
            QueryError: If it cannot be asked or is longer than the language model takes.
        """
        query = self._query(text, kind, decoding)
        answer = self._answer(query, decoding) if self.earlier is None else self._go_on(query, decoding, self.earlier)
        self.rounds.append(ChatTurn(kind, query.names, answer))
        return self.rounds[-1]

    def stream(self, text: str) -> Iterator[str]:
        """Ask a question, give the text of the answer piece by piece as it is written, then add the round to the talk.

        Args:
            text: The question.

        Raises:
            QueryError: If it cannot be asked or is longer than the language model takes.
        """
        query, told = self._query(text, "question", "free"), ""
        for piece in self.assistant.decoder.stream(self.encoded.image_vectors, query, earlier=self.earlier):
            told += piece
            yield piece
        self.rounds.append(ChatTurn("question", query.names, Answer(told)))

    def _answer(self, query: Query, decoding: Literal["ordered", "free"]) -> Answer:
        return self.assistant.answer_batch(self.encoded, [self.geometry], [query], decoding)[0]

    def _go_on(self, query: Query, decoding: Literal["ordered", "free"], earlier: ChatHistory) -> Answer:
        """Answer behind the earlier rounds."""
        decoder, vectors = self.assistant.decoder, self.encoded.image_vectors
        if decoding == "free" or query.kind == "question":
            decoded = decoder.free(vectors, [query], earlier=earlier)
        else:
            decoded = decoder.ordered(vectors, [query], earlier)
        return self.assistant.draw(self.encoded, [self.geometry], [query], decoded)[0]

    def _query(self, text: str | Sequence[str], kind: Kind, decoding: str) -> Query:
        query = Query(0, kind, (text,) if isinstance(text, str) else tuple(text))
        check_queries(self.assistant.format, [query], decoding)
        return query
