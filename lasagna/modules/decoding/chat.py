"""A conversation about one image, or several shown together, encoded once for all turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Query
from lasagna.core.image_places import LAST
from lasagna.core.query_kind import QUESTION, REFERRING, QueryKind, kind_of
from lasagna.core.visual_prompt import Box, Point, VisualPrompt
from lasagna.errors import QueryError
from lasagna.modules.contract import check_queries
from lasagna.modules.decoding.cache import ChatHistory
from lasagna.modules.decoding.visual_prompts import check_visual, segment
from lasagna.modules.shown_images import Images, image_count

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


@dataclass(frozen=True)
class ChatTurn:
    """One query and its answer.

    Args:
        kind: Kind of the query.
        names: What was asked for: the names of a list, or the one phrase or question.
        answer: The text and, for each name, presence, score, mask and confidence.
        visual: What was pointed at for which name; the second entry of a name, as captions may have, is "dog#1".
    """

    kind: QueryKind
    names: tuple[str, ...]
    answer: Answer
    visual: Mapping[str, VisualPrompt] = field(default_factory=dict)


class Chat:
    """Asks an assistant about one image, or several shown together, turn after turn.

    Args:
        assistant: The assistant that answers.
        image: The image, uint8 ``[H, W, 3]``, or several in order; encoded here, once.
        remember: Whether the language model reads the previous turns before it answers the next one. If not, each turn
            is asked by itself, as in this package's own training. With it, everything read stays in the key-value
            cache, so that earlier turns add no cost to a turn; a list that does not fit after them is refused instead
            of being split.
        masks_on: Position of the image that masks belong to.

    Attributes:
        turns: What was asked and answered so far.

    Raises:
        RecordError: If the image is not an array of the expected form.
        QueryError: If ``remember`` is set and the prompt format has no further turns.
    """

    def __init__(self, assistant: Assistant, image: Images, remember: bool = False, masks_on: int = LAST) -> None:
        if remember:
            assistant.configure_model()  # which may make the format
            assistant.format.further_prompt(QUESTION, ["?"])
        self.assistant = assistant
        self.history = ChatHistory() if remember else None
        self.encoded, self.geometry = assistant.encode_image(image, masks_on)
        self.images = image_count(image)
        self.turns: list[ChatTurn] = []

    def ask(
        self,
        text: str | Sequence[str],
        kind: str = QUESTION,
        decoding: Literal["ordered", "free", "one_pass"] = "ordered",
        visual: VisualPrompt | None = None,
    ) -> ChatTurn:
        """Ask a query and add the turn to the conversation.

        Args:
            text: A question, a phrase, or the names of a list.
            kind: A kind of query, or the name of one of ``KINDS`` or of the assistant's ``learned_kinds``, such as
                "referring".
            decoding: "ordered", "free" or "one_pass"; kinds without masks are always answered freely.
            visual: Points, boxes or an earlier mask that say where the one name is, for mask heads that take them.

        Returns:
            The turn.

        Raises:
            QueryError: If the query cannot be asked or is longer than the language model takes.
        """
        query = replace(self._checked_query(text, kind, decoding), visual=visual)
        check_visual(self.assistant.mask_head, [query], [self.geometry.original])
        [answer] = self.assistant.answer_batch(
            self.encoded, [self.geometry], [query], decoding=decoding, history=self.history
        )
        self.turns.append(ChatTurn(query.kind, query.names, answer, {} if visual is None else {query.names[0]: visual}))
        return self.turns[-1]

    def segment(self, visual: VisualPrompt, name: str = "object") -> ChatTurn:
        """Draw the mask of what is pointed at, without words, and add the turn to the conversation.

        Args:
            visual: Points, boxes or a mask in pixels of the image.
            name: Name of the entry.

        Returns:
            The turn. The language model has no part in it and does not remember it.

        Raises:
            QueryError: If the mask head takes no points and boxes, or something lies outside the image.
        """
        entry = segment(self.assistant, self.encoded, self.geometry, visual, name)
        self.turns.append(ChatTurn(REFERRING, (name,), Answer("", (entry,)), {name: visual}))
        return self.turns[-1]

    def mend(
        self,
        points: Sequence[Point] = (),
        boxes: Sequence[Box] = (),
        name: str | None = None,
        which: int | None = None,
    ) -> ChatTurn:
        """Mend a mask of the last answer with names by points and boxes, and add the mended answer as a turn.

        The mask head gets the mask, the points and boxes, and those that were given for this mask before, as SAM is
        used interactively. The language model has no part in it and does not remember it.

        Args:
            points: Points in the image, each ``(x, y)`` or ``(x, y, "negative")``: column and row, counted from 0.
            boxes: Boxes that take the place of those before, each left, top, width and height.
            name: The entry whose mask is mended; may be left out if the answer has only one present entry.
            which: Which of several entries of this name or, without a name, of the present ones, counted from 0 in the
                order of the answer; may be left out if there is one.

        Returns:
            The turn: the answer with this entry present and its mask drawn anew.

        Raises:
            QueryError: If there are neither points nor boxes, or there is no such entry, or it has several masks; if
                the mask head takes none, or something lies outside the image.
        """
        if not len(points) and not len(boxes):
            raise QueryError("points: there are none, and no boxes; point at what is wrong with the mask")
        last, entry = self._to_mend(name, which)
        same = [one for one in last.answer.entries if one.name == entry.name]
        rank = next(rank for rank, one in enumerate(same) if one is entry)
        key = f"{entry.name}#{rank}" if rank else entry.name
        before = last.visual.get(key)
        if before is not None:
            points, boxes = (*before.points, *points), boxes if len(boxes) else before.boxes
        mask = None if entry.mask is None or entry.empty else entry.mask
        visual = VisualPrompt(points, boxes, mask if entry.probability is None else entry.probability)
        drawn = segment(self.assistant, self.encoded, self.geometry, visual, entry.name, entry.score)
        drawn = replace(drawn, span=entry.span)
        entries = tuple(drawn if one is entry else one for one in last.answer.entries)
        answer = replace(last.answer, entries=entries, top=None)
        self.turns.append(replace(last, answer=answer, visual={**last.visual, key: visual}))
        return self.turns[-1]

    def _to_mend(self, name: str | None, which: int | None) -> tuple[ChatTurn, AnsweredEntry]:
        last = next((turn for turn in reversed(self.turns) if turn.answer.entries), None)
        if last is None:
            raise QueryError("name: there is no mask to mend yet; ask for a thing first, or use segment")
        entries = last.answer.entries
        named = [entry for entry in entries if (entry.present if name is None else entry.name == name)]
        if not named:
            raise QueryError(
                f"name: {name!r} is not one entry of the last answer; give one of {[entry.name for entry in entries]}"
            )
        if which is None and len(named) > 1 and len({entry.name for entry in named}) > 1:
            raise QueryError(f"name: several things are present; give one of {[entry.name for entry in named]}")
        if not (0 <= which < len(named) if which is not None else len(named) == 1):
            asked = f"which: got {which}, but " if which is not None else "name: "
            raise QueryError(
                f"{asked}the last answer has {len(named)} entries called {[entry.name for entry in named]}; say which "
                f"by a number from 0 to {len(named) - 1}, such as which=0"
            )
        entry = named[which or 0]
        if len(entry.masks) > 1:
            raise QueryError(
                f"name: {entry.name!r} has {len(entry.masks)} masks, and mending draws one; mend one of its objects by "
                "segment(VisualPrompt(points, mask=entry.masks[0]), name)"
            )
        return last, entry

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
        query = Query(
            0,
            kind_of(kind, self.assistant.learned_kinds, self.assistant.format.prompts),
            (text,) if isinstance(text, str) else tuple(text),
            images=self.images,
        )
        check_queries(self.assistant, [query], decoding)
        return query
