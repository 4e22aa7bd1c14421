"""A conversation about one image, which is encoded once for all turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.batch import Query
from lasagna.core.dialogue import Answer
from lasagna.core.query_kind import QUESTION, QueryKind, kind_of
from lasagna.modules.contract import check_queries
from lasagna.modules.decoding.cache import ChatHistory

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


@dataclass(frozen=True)
class ChatTurn:
    """One query and its answer.

    Args:
        kind: Kind of the query.
        names: What was asked for: the names of a list, or the one phrase or question.
        answer: The text and, for each name, presence, score, mask and confidence.
    """

    kind: QueryKind
    names: tuple[str, ...]
    answer: Answer


class Chat:
    """Asks an assistant about one image, turn after turn.

    Args:
        assistant: The assistant that answers.
        image: The image, uint8 ``[H, W, 3]``; encoded here, once.
        remember: Whether the language model reads the previous turns before it answers the next one. If not, each turn
            is asked by itself, as in this package's own training. With it, everything read stays in the key-value
            cache, so that earlier turns add no cost to a turn; a list that does not fit after them is refused instead
            of being split.

    Attributes:
        turns: What was asked and answered so far.

    Raises:
        RecordError: If the image is not an array of the expected form.
        QueryError: If ``remember`` is set and the prompt format has no further turns.
    """

    def __init__(self, assistant: Assistant, image: NDArray[np.uint8], remember: bool = False) -> None:
        if remember:
            assistant.configure_model()  # which may make the format
            assistant.format.further_prompt(QUESTION, ["?"])
        self.assistant = assistant
        self.history = ChatHistory() if remember else None
        self.encoded, self.geometry = assistant.encode_image(image)
        self.turns: list[ChatTurn] = []

    def ask(
        self, text: str | Sequence[str], kind: str = QUESTION, decoding: Literal["ordered", "free"] = "ordered"
    ) -> ChatTurn:
        """Ask a query and add the turn to the conversation.

        Args:
            text: A question, a phrase, or the names of a list.
            kind: A kind of query, or the name of one of the package's: "question", "referring", "reasoning",
                "reasoning_with_explanation" (decode it freely) or "categories".
            decoding: "ordered" or "free"; kinds without masks are always answered freely.

        Returns:
            The turn.

        Raises:
            QueryError: If the query cannot be asked or is longer than the language model takes.
        """
        query = self._checked_query(text, kind, decoding)
        [answer] = self.assistant.answer_batch(
            self.encoded, [self.geometry], [query], decoding=decoding, history=self.history
        )
        self.turns.append(ChatTurn(query.kind, query.names, answer))
        return self.turns[-1]

    def stream(self, text: str) -> Iterator[str]:
        """Ask a question, yield the answer piece by piece as it is written, then add the turn to the conversation.

        Args:
            text: The question.

        Yields:
            Pieces of the answer's text.

        Raises:
            QueryError: If the question cannot be asked or is longer than the language model takes.
        """
        query, answer = self._checked_query(text, QUESTION, "free"), ""
        pieces = self.assistant.decoder.stream(self.encoded.image_vectors, query, history=self.history)
        while True:
            # whoever reads the pieces may use the assistant in between
            with self.assistant.answering():
                piece = next(pieces, None)
            if piece is None:
                break
            answer += piece
            yield piece
        self.turns.append(ChatTurn(QUESTION, query.names, Answer(answer)))

    def _checked_query(self, text: str | Sequence[str], kind: str, decoding: str) -> Query:
        query = Query(0, kind_of(kind), (text,) if isinstance(text, str) else tuple(text))
        check_queries(self.assistant.format, [query], decoding)
        return query
