"""Checks of answers to learn: each must be of the form that the kind of its query states."""

from __future__ import annotations

from lasagna.core.answer_parser import normalise
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.grounded_text import span_error
from lasagna.core.masks import Mask
from lasagna.core.prompt_format_checks import shortened
from lasagna.core.query_kind import QueryKind
from lasagna.errors import QueryError


def check_answer(dialogue: Dialogue, size: tuple[int, int] | None = None) -> None:
    """Check that the entries of a dialogue are of the form that its kind states; nothing is left out silently.

    Args:
        dialogue: The dialogue with its answer.
        size: Height and width of the image, which all masks must have; None not to compare them.

    Raises:
        QueryError: If a name has a mask that the kind gives none or that its entry denies, or one of another size; if a
            name stands twice in an answer to a list or was not asked for; if the one phrase has no entry or several; if
            there are words where the kind has none; or if the phrases of grounded words are absent or not in the text.
    """
    kind = dialogue.kind
    errors = [_entry_error(kind, entry) for entry in dialogue.entries]
    errors += [_form_error(dialogue), None if size is None else _size_error(dialogue, size)]
    if error := next(filter(None, errors), None):
        raise QueryError(f"answer: {error}")
    if kind.many:
        _check_names(dialogue)
    if kind.grounded and (error := span_error(dialogue.text, [entry.span for entry in dialogue.entries])):
        raise QueryError(f"answer: {error}")


def _entry_error(kind: QueryKind, entry: Entry) -> str | None:
    masked = entry.mask is not None or bool(entry.masks or entry.crowds)
    if masked and not kind.masks:
        return f"{entry.name!r} has a mask, and answers of kind {str(kind)!r} have none; leave it out"
    if entry.span is not None and not kind.grounded:
        return f"{entry.name!r} has a span, and answers of kind {str(kind)!r} have no masks among words; leave it out"
    if masked and not entry.present:
        return f"{entry.name!r} has a mask and is called absent; set `present`, or leave the mask out"
    if masked and entry.mask is None:
        return f"{entry.name!r} has masks of its objects and none of all of them; give their union as `mask`"
    if kind.grounded and not entry.present:
        return f"{entry.name!r} is called absent, and grounded words mention only what is there; leave the entry out"
    return None


def _form_error(dialogue: Dialogue) -> str | None:
    kind, names = dialogue.kind, [entry.name for entry in dialogue.entries]
    if dialogue.text and not kind.words:
        text = shortened(dialogue.text)
        return f"it has the text {text!r}, and answers of kind {str(kind)!r} have no words; leave it out"
    if names and not kind.masks:
        return f"it has entries {names[:4]}, and answers of kind {str(kind)!r} are words only; leave them out"
    if kind.is_phrase and list(map(normalise, names)) != list(map(normalise, dialogue.query)):
        asked = list(dialogue.query)
        return f"it has the entries {names[:4]}, and kind {str(kind)!r} asks for {asked}; give one entry for it"
    return None


def _size_error(dialogue: Dialogue, size: tuple[int, int]) -> str | None:
    """Return which mask has another size than the image, or is no mask."""
    masks = [("ignore", dialogue.ignore)]
    for entry in dialogue.entries:
        further = [mask for drawn in entry.annotators for mask in drawn]
        found = (entry.mask, *entry.masks, *entry.crowds, *further)
        masks += [(f"a mask of {entry.name!r}", mask) for mask in found]
    for what, mask in masks:
        if mask is not None and not isinstance(mask, Mask):
            return f"{what}: expected a Mask, got a {type(mask).__name__}; make one by RLEMask.from_array"
        if mask is not None and mask.size != size:
            return f"{what}: height and width are {mask.size}, those of the image {size}; give masks of its own size"
    return None


def _check_names(dialogue: Dialogue) -> None:
    asked, seen = set(map(normalise, dialogue.query)), set[str]()
    for entry in dialogue.entries:
        name = normalise(entry.name)
        if name not in asked or name in seen:
            wrong = "has two entries" if name in seen else "was not asked for"
            raise QueryError(f"answer: {entry.name!r} {wrong}; give one entry for each name of the query")
        seen.add(name)
