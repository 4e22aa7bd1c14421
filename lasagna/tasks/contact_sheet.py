"""Many answers on one sheet: image, answer with its legend, and the truth beside it."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from lasagna.tasks.card import GAP, SIZE, Card, rows_of
from lasagna.tasks.case import Case
from lasagna.tasks.colours import name_colours
from lasagna.tasks.lettering import QUIET, WHITE, WRONG, text_block, wrap
from lasagna.tasks.visualize import present_names

__all__ = ["Case", "contact_sheet"]

KEY = "Struck through: said to be absent. Number: the probability of being present. Hollow square: no mask."
KEY_OF_ANNOTATIONS = "Struck through: known to be absent."
KEY_OF_RED = "Red: decided wrongly."

_MARGIN = 20


def contact_sheet(cases: Sequence[Case], *, columns: int = 2, side: int = 240) -> Image.Image:
    """Draw answers on one sheet, each name in one colour throughout.

    Args:
        cases: The answers, drawn row by row.
        columns: Answers in a row; of questions, which have one panel, there are more.
        side: Longer side of each drawn image in pixels.

    Raises:
        ValueError: If there are no answers, or if columns or side are not positive.
    """
    if not cases:
        raise ValueError("cases: there are none; a contact sheet needs at least one answer")
    if columns < 1 or side < 1:
        raise ValueError(f"columns and side must be positive, got {columns} and {side}")
    names = [name for case in cases for name in [*present_names(case.truth or ()), *present_names(case.entries)]]
    colours = name_colours(names)
    cards = [Card(case, colours, side).draw() for case in cases]
    room = columns * max(card.width for card in cards) + (columns - 1) * GAP
    rows = rows_of(cards, room)
    width = max(sum(card.width + GAP for card in row) - GAP for row in rows)
    return _laid_out(rows, _key(cases, width))


def _key(cases: Sequence[Case], width: int) -> Image.Image:
    key = KEY_OF_ANNOTATIONS if all(case.annotated for case in cases) else KEY
    lines = [(line, QUIET) for line in wrap(key, width, SIZE, 4)]
    judged = any(case.truth or case.truth_text for case in cases)
    return text_block([*lines, *([(KEY_OF_RED, WRONG)] if judged else [])], width, SIZE)


def _laid_out(rows: list[list[Image.Image]], key: Image.Image) -> Image.Image:
    heights = [max(card.height for card in row) for row in rows]
    size = (key.width + 2 * _MARGIN, 2 * _MARGIN + key.height + sum(heights) + len(rows) * GAP)
    sheet = Image.new("RGB", size, WHITE)
    sheet.paste(key, (_MARGIN, _MARGIN))
    top = _MARGIN + key.height + GAP
    for row, height in zip(rows, heights, strict=True):
        left = _MARGIN
        for card in row:
            sheet.paste(card, (left, top))
            left += card.width + GAP
        top += height + GAP
    return sheet
