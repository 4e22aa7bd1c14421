"""Checks of answers to learn: each must be of the form that the kind of its query states."""

from __future__ import annotations

from lasagna.core.answer_parser import normalise
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.grounded_text import span_error
from lasagna.core.query_kind import QueryKind
from lasagna.errors import QueryError


def check_answer(dialogue: Dialogue) -> None:
    """Check that the entries of a dialogue are of the form that its kind states; nothing is left out silently.

    Args:
        dialogue: The dialogue with its answer.

    Raises:
        QueryError: If a name has a mask that the kind gives none or that its entry denies, if it stands twice in an
            answer to a list or was not asked for, or if the phrases of grounded words are absent or not in the text.
    """
    kind = dialogue.kind
    if error := next(filter(None, (_entry_error(kind, entry) for entry in dialogue.entries)), None):
        raise QueryError(f"answer: {error}")
    if kind.many:
        _check_names(dialogue)
    if kind.grounded and (error := span_error(dialogue.text, [entry.span for entry in dialogue.entries])):
        raise QueryError(f"answer: {error}")


def _entry_error(kind: QueryKind, entry: Entry) -> str | None:
    masked = entry.mask is not None or bool(entry.masks or entry.crowds)
    if masked and not kind.masks:
        return f"{entry.name!r} has a mask, and answers of kind {str(kind)!r} have none; leave it out"
    if masked and not entry.present:
        return f"{entry.name!r} has a mask and is called absent; set `present`, or leave the mask out"
    if masked and entry.mask is None:
        return f"{entry.name!r} has masks of its objects and none of all of them; give their union as `mask`"
    if kind.grounded and not entry.present:
        return f"{entry.name!r} is called absent, and grounded words mention only what is there; leave the entry out"
    return None


def _check_names(dialogue: Dialogue) -> None:
    asked, seen = set(map(normalise, dialogue.query)), set[str]()
    for entry in dialogue.entries:
        name = normalise(entry.name)
        if name not in asked or name in seen:
            wrong = "has two entries" if name in seen else "was not asked for"
            raise QueryError(f"answer: {entry.name!r} {wrong}; give one entry for each name of the query")
        seen.add(name)
