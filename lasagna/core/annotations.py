"""The annotations of a record: regions, phrases, questions, conversations and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lasagna.core.grounded_text import span_error
from lasagna.core.masks import Mask, UnionMask
from lasagna.errors import RecordError


@dataclass(frozen=True)
class Region:
    """A category, its pixels, and its objects where the data set tells them apart.

    Args:
        name: The category's name, one of the manifest's.
        mask: All pixels of the category.
        masks: One mask per object, or None if objects are not told apart, as for stuff. See ``of_objects``.
        crowds: Groups of objects that are not told apart, where others of the category are.
    """

    name: str
    mask: Mask
    masks: tuple[Mask, ...] | None = None
    crowds: tuple[Mask, ...] = ()

    @classmethod
    def of_objects(cls, name: str, masks: Sequence[Mask], crowds: Sequence[Mask] = ()) -> Region:
        """Return the region of objects, whose pixels are those of all objects and crowds.

        Args:
            name: The category's name.
            masks: One mask per object.
            crowds: Groups of objects that are not told apart.

        Raises:
            RecordError: If there is no mask at all.
        """
        parts = (*masks, *crowds)
        if not parts:
            raise RecordError(f"masks: {name!r} has neither an object nor a crowd; leave it out, or list it as absent")
        mask = parts[0] if len(parts) == 1 else UnionMask(parts, shape=parts[0].size)
        return cls(name, mask, tuple(masks), tuple(crowds))


@dataclass(frozen=True)
class Phrase:
    """A referring expression and the objects it refers to.

    Args:
        text: The expression, e.g. "the man in red".
        masks: One mask per object: none, one or many.
        kind: Kind of the expression in the data set's own terms, for scores by kind.
        group: What it is about, unique in the data set, for scores that take the phrases about one thing together.
        annotators: The objects as each further annotator drew them; they need not agree that there are any.
    """

    text: str
    masks: tuple[Mask, ...]
    kind: str = ""
    group: str = ""
    annotators: tuple[tuple[Mask, ...], ...] = ()


@dataclass(frozen=True)
class Question:
    """A question with an answer in words, or in masks if ``masks`` is given.

    Args:
        text: The question.
        answer: Answer in words; the explanation if there are masks.
        masks: One mask per object that answers it (reasoning segmentation), or None for an answer only in words.
        kind: Kind of the question in the data set's own terms, for scores by kind.
        group: What it is about, unique in the data set, for scores that take the questions about one thing together.
    """

    text: str
    answer: str = ""
    masks: tuple[Mask, ...] | None = None
    kind: str = ""
    group: str = ""


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation: a question and the assistant's answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class CaptionPhrase:
    """A phrase of a caption and the objects that it means.

    Args:
        span: Begin and end of the phrase in the caption's text; the end is exclusive.
        masks: One mask per object, at least one.
    """

    span: tuple[int, int]
    masks: tuple[Mask, ...]


@dataclass(frozen=True)
class Caption:
    """A description of an image, of which some phrases have masks.

    Args:
        text: The description, in plain words.
        phrases: The phrases with masks, in the order of the text and without overlaps.

    Raises:
        RecordError: If a phrase has no mask, or its span lies outside the text or overlaps the one before it.
    """

    text: str
    phrases: tuple[CaptionPhrase, ...] = ()

    def __post_init__(self) -> None:
        """Check the phrases."""
        if error := span_error(self.text, [phrase.span for phrase in self.phrases]):
            raise RecordError(f"caption: {error}")
        if bare := [self.words_of(phrase) for phrase in self.phrases if not phrase.masks]:
            raise RecordError(f"caption: {bare} have no mask; leave their spans out")

    def words_of(self, phrase: CaptionPhrase) -> str:
        """Return the words of one of the phrases."""
        return self.text[slice(*phrase.span)]
