"""A talk about one image, which is encoded once for all that is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lasagna.batch import Geometry, Query
from lasagna.dialogue import Answer, Kind
from lasagna.modules.decoding import Decoder
from lasagna.modules.encoded import Encoded
from lasagna.modules.input_checks import check_queries
from lasagna.prompt_format import PromptFormat


class Answerer(Protocol):
    """What a talk needs of an assistant."""

    format: PromptFormat

    @property
    def decoder(self) -> Decoder:
        """What decodes answers."""

    def encode_image(self, image: NDArray[np.uint8]) -> tuple[Encoded, Geometry]:
        """Encode one image, and say how it was fitted."""

    def answer_batch(
        self,
        encoded: Encoded,
        geometries: Sequence[Geometry],
        queries: Sequence[Query],
        decoding: Literal["ordered", "free"] = "ordered",
    ) -> list[Answer]:
        """Answer queries about encoded images."""


@dataclass(frozen=True)
class Round:
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

    Each round is asked by itself: what was said before is kept in ``rounds`` and is not read by the language model,
    which learns lists and phrases in rounds by themselves.

    Args:
        assistant: Who answers.
        image: The image, uint8 ``[H, W, 3]``; encoded here, once.

    Attributes:
        rounds: What was asked and answered so far.

    Raises:
        RecordError: If the image is none, or of another form.
    """

    def __init__(self, assistant: Answerer, image: NDArray[np.uint8]) -> None:
        self.assistant = assistant
        self.encoded, self.geometry = assistant.encode_image(image)
        self.rounds: list[Round] = []

    def ask(
        self, text: str | Sequence[str], kind: Kind = "question", decoding: Literal["ordered", "free"] = "ordered"
    ) -> Round:
        """Ask something, and add the round to the talk.

        Args:
            text: A question, a phrase, or the names of a list.
            kind: "question", "referring", "reasoning", "explained" (decode it freely) or "complex".
            decoding: "ordered" or "free"; questions are always answered freely.

        Raises:
            QueryError: If it cannot be asked or is longer than the language model takes.
        """
        query = self._query(text, kind, decoding)
        answer = self.assistant.answer_batch(self.encoded, [self.geometry], [query], decoding)[0]
        self.rounds.append(Round(kind, query.names, answer))
        return self.rounds[-1]

    def stream(self, text: str) -> Iterator[str]:
        """Ask a question, give the text of the answer piece by piece as it is written, then add the round to the talk.

        Args:
            text: The question.

        Raises:
            QueryError: If it cannot be asked or is longer than the language model takes.
        """
        query, told = self._query(text, "question", "free"), ""
        for piece in self.assistant.decoder.stream(self.encoded.image_vectors, query):
            told += piece
            yield piece
        self.rounds.append(Round("question", query.names, Answer(told)))

    def _query(self, text: str | Sequence[str], kind: Kind, decoding: str) -> Query:
        query = Query(0, kind, (text,) if isinstance(text, str) else tuple(text))
        check_queries(self.assistant.format, [query], decoding)
        return query
