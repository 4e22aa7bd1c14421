"""Draw an answer: the query, the masks over the image, and the entries as a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.query_kind import QueryKind
from lasagna.tasks.visualization.caption import caption_block
from lasagna.tasks.visualization.legend import INK, QUIET, WHITE, Legend, text_block, wrap
from lasagna.tasks.visualization.overlay import RGB, name_colours, overlay

SMALLEST_SIDE = 448
"""Images with a longer side below this many pixels are enlarged, so that the text beside them fits."""

_WIDE = 1.5
_TITLE_LINES = 2
_CAPTION_LINES = 8


def draw_answer(
    image: NDArray[np.uint8],
    query: str,
    entries: Sequence[AnsweredEntry],
    *,
    text: str = "",
    colours: Mapping[str, RGB] | None = None,
    scores: bool = True,
    side: int | None = None,
) -> Image.Image:
    """Draw an answer.

    Present names have a swatch in the colour of their mask (hollow if the mask is empty); absent names are grey and
    struck through. The legend is beside the image, or below it if the image is wide.

    Args:
        image: uint8 ``[H, W, 3]``.
        query: The query or question, written above the image.
        entries: The entries of the answer, in its order.
        text: An answer in words, written below the question; phrases of it that have masks are coloured.
        colours: Colour of each present name, to share between images; None for ``name_colours``.
        scores: Whether to show scores.
        side: Longer side of the drawn image in pixels; None for that of the image, enlarged if it is small.

    Returns:
        The drawing.
    """
    side = side or max(SMALLEST_SIDE, *image.shape[:2])
    colours = colours if colours is not None else name_colours(present_names(entries))
    picture = overlay(image, entries, colours, side=side)
    size = max(13, round(side / 30))
    body = _join(picture, Legend(entries, colours, size, scores), size) if entries else picture
    width, grounded = max(body.width, side), any(entry.span is not None for entry in entries)
    title = text_block(title_lines(query, "" if grounded else text, width, size), width, size)
    if grounded:
        title = _stack(title, caption_block(text, entries, colours, width, size, _CAPTION_LINES), gap=size // 4)
    content = _stack(title, body, gap=size // 2)
    framed = Image.new("RGB", (content.width + 2 * size, content.height + 2 * size), WHITE)
    framed.paste(content, (size, size))
    return framed


def shown_words(kind: QueryKind, answer: Answer) -> str:
    """Return the words of an answer that are drawn beside or instead of its names.

    Args:
        kind: Kind of the query.
        answer: The answer.
    """
    if not kind.words:
        return ""
    return (answer.words if kind.grounded else answer.text).strip() or "(no words)"


def present_names(entries: Sequence[AnsweredEntry]) -> list[str]:
    """Return the names of the present entries, which are drawn with a colour."""
    return [entry.name for entry in entries if entry.present]


def truth_entries(dialogue: Dialogue) -> list[AnsweredEntry]:
    """Return the entries of the right answer, to draw beside those of the assistant.

    Args:
        dialogue: The dialogue with its masks; names of its query without an entry are absent, unless the answer is a
            caption, which has the phrases that it mentions.
    """
    if not dialogue.kind.masks:
        return []
    if dialogue.kind.grounded:
        return [_true_phrase(entry) for entry in dialogue.entries]
    known = {entry.name: entry for entry in dialogue.entries}
    entries = []
    for name in dialogue.query:
        entry = known.get(name)
        present = entry is not None and entry.present
        mask = entry.mask.decode() if entry is not None and present and entry.mask is not None else None
        masks = () if entry is None else tuple(part.decode() for part in entry.masks)
        scores = (1.0,) * len(masks)
        entries.append(AnsweredEntry(name, present, float(present), mask, masks=masks, scores=scores))
    return entries


def object_counts(dialogue: Dialogue) -> dict[str, int]:
    """Return the number of objects of each name whose objects are asked for and known, and of which there is no crowd.

    Args:
        dialogue: The dialogue with its masks.
    """
    if not dialogue.kind.objects:
        return {}
    return {entry.name: len(entry.masks) for entry in dialogue.entries if entry.masks and not entry.crowds}


def _true_phrase(entry: Entry) -> AnsweredEntry:
    mask = None if entry.mask is None else entry.mask.decode()
    return AnsweredEntry(entry.name, True, 1.0, mask, span=entry.span)


def title_lines(query: str, text: str, width: int, size: int) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the lines above an image: the query and, in a stronger colour, an answer in words."""
    lines = [(line, QUIET if text else INK) for line in wrap(query, width, size, _TITLE_LINES)]
    return lines + [(line, INK) for line in wrap(text, width, size, _TITLE_LINES)]


def _join(picture: Image.Image, legend: Legend, size: int) -> Image.Image:
    if picture.width > _WIDE * picture.height:
        return _stack(picture, legend.below(picture.width), gap=size // 2)
    listing = legend.beside(max(picture.height, legend.row_height))
    joined = Image.new("RGB", (picture.width + size + listing.width, max(picture.height, listing.height)), WHITE)
    joined.paste(picture, (0, 0))
    joined.paste(listing, (picture.width + size, 0))
    return joined


def _stack(top: Image.Image, bottom: Image.Image, gap: int) -> Image.Image:
    stacked = Image.new("RGB", (max(top.width, bottom.width), top.height + gap + bottom.height), WHITE)
    stacked.paste(top, (0, 0))
    stacked.paste(bottom, (0, top.height + gap))
    return stacked
