"""Many answers on one sheet: image, answer with its legend, and the truth beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lasagna.dialogue import AnsweredEntry
from lasagna.tasks.colours import RGB, name_colours
from lasagna.tasks.legend import Legend
from lasagna.tasks.lettering import FAINT, INK, WHITE, WRONG, line_height, shorten, text_width, wrap, write
from lasagna.tasks.overlay import overlay, scaled
from lasagna.tasks.visualize import present_names

_SIZE = 15
_SMALL = 12
_GAP = 12
_MARGIN = 20
_LEGEND_WIDTH = 18 * _SIZE
_CARD = (250, 250, 252)
_EDGE = (222, 224, 230)


@dataclass(frozen=True)
class Case:
    """One answer on a contact sheet.

    Args:
        image: uint8 ``[H, W, 3]``.
        query: The query or question.
        entries: The assistant's entries, in the order answered.
        text: The assistant's answer in words (questions).
        truth: The right entries, or None if they are not known.
        truth_text: The right answer in words (questions).
        note: A remark beside the query, e.g. where the image comes from.
    """

    image: NDArray[np.uint8]
    query: str
    entries: Sequence[AnsweredEntry]
    text: str = ""
    truth: Sequence[AnsweredEntry] | None = None
    truth_text: str = ""
    note: str = ""

    def wrong(self) -> set[str]:
        """Return the names whose presence was decided wrongly."""
        right = {entry.name: entry.present for entry in self.truth or ()}
        return {entry.name for entry in self.entries if right.get(entry.name, entry.present) != entry.present}


def contact_sheet(cases: Sequence[Case], *, columns: int = 2, side: int = 240) -> Image.Image:
    """Draw answers on one sheet, each name in one colour throughout.

    Args:
        cases: The answers, drawn row by row.
        columns: Answers in a row.
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
    room = 3 if any(case.truth is not None for case in cases) else 2
    cards = [_Card(case, colours, side, room).draw() for case in cases]
    return _laid_out(cards, min(columns, len(cards)))


@dataclass(frozen=True)
class _Card:
    """One answer: a title, captions over the panels, the panels and the legend."""

    case: Case
    colours: dict[str, RGB]
    side: int
    room: int

    def draw(self) -> Image.Image:
        panels = self._panels()
        width = 2 * _GAP + self.room * (self.side + _GAP) + _LEGEND_WIDTH
        top = _GAP + 2 * line_height(_SIZE)
        card = Image.new("RGB", (width, top + line_height(_SIZE) + self.side + _GAP), _CARD)
        draw = ImageDraw.Draw(card)
        draw.rectangle((0, 0, card.width - 1, card.height - 1), outline=_EDGE)
        self._write_title(draw, width - 2 * _GAP)
        for place, (caption, panel) in enumerate(panels.items()):
            left = _GAP + place * (self.side + _GAP)
            write(draw, (left, top + line_height(_SIZE) // 2), caption, _SMALL, FAINT)
            card.paste(panel, (left, top + line_height(_SIZE)))
        self._list(card, _GAP + len(panels) * (self.side + _GAP), top + line_height(_SIZE))
        return card

    def _panels(self) -> dict[str, Image.Image]:
        case = self.case
        panels = {"image": scaled(case.image, self.side)}
        if case.entries or case.truth:
            panels["answer"] = overlay(case.image, case.entries, self.colours, side=self.side)
        if case.truth:
            panels["truth"] = overlay(case.image, case.truth, self.colours, side=self.side)
        return panels

    def _write_title(self, draw: ImageDraw.ImageDraw, width: int) -> None:
        note = shorten(self.case.note, width // 3, _SMALL)
        middle = _GAP + line_height(_SIZE) // 2
        for row, line in enumerate(wrap(self.case.query, width - text_width(note, _SMALL) - _GAP, _SIZE, 2)):
            write(draw, (_GAP, middle + row * line_height(_SIZE)), line, _SIZE, INK)
        write(draw, (_GAP + width - text_width(note, _SMALL), middle), note, _SMALL, FAINT)

    def _list(self, card: Image.Image, left: int, top: int) -> None:
        width = card.width - left - _GAP
        if self.case.entries:
            size = _SIZE if len(self.case.entries) * line_height(_SIZE) <= self.side else _SMALL
            legend = Legend(self.case.entries, self.colours, size, wrong=self.case.wrong())
            card.paste(_on_card(legend.within(width, self.side)), (left, top))
            return
        draw = ImageDraw.Draw(card)
        for row, (text, ink) in enumerate(self._words(width)):
            write(draw, (left, top + row * line_height(_SIZE) + line_height(_SIZE) // 2), text, _SIZE, ink)

    def _words(self, width: int) -> list[tuple[str, RGB]]:
        case = self.case
        right = not case.truth_text or case.text.strip().casefold() == case.truth_text.strip().casefold()
        lines = [(line, INK if right else WRONG) for line in wrap(case.text or "(no answer)", width, _SIZE, 5)]
        truth = f"truth: {case.truth_text}" if case.truth_text else ""
        return lines + [(line, FAINT) for line in wrap(truth, width, _SIZE, 4)]


def _on_card(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture)
    return Image.fromarray(np.minimum(pixels, np.asarray(_CARD, dtype=np.uint8)))


def _laid_out(cards: list[Image.Image], columns: int) -> Image.Image:
    width = max(card.width for card in cards)
    rows = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    size = (
        2 * _MARGIN + columns * width + (columns - 1) * _GAP,
        2 * _MARGIN + sum(heights) + (len(rows) - 1) * _GAP,
    )
    sheet = Image.new("RGB", size, WHITE)
    top = _MARGIN
    for row, height in zip(rows, heights, strict=True):
        for place, card in enumerate(row):
            sheet.paste(card, (_MARGIN + place * (width + _GAP), top))
        top += height + _GAP
    return sheet
