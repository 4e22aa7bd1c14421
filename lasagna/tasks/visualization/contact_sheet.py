"""One answer on a contact sheet: where it comes from, the query, the panels, and below them the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lasagna.core.dialogue import AnsweredEntry
from lasagna.tasks.visualization.answer import present_names
from lasagna.tasks.visualization.legend import (
    FAINT,
    INK,
    QUIET,
    WHITE,
    WRONG,
    Legend,
    line_height,
    shorten,
    text_block,
    wrap,
)
from lasagna.tasks.visualization.overlay import RGB, name_colours, overlay, scaled


@dataclass(frozen=True)
class Example:
    """One answer on a contact sheet.

    Args:
        image: uint8 ``[H, W, 3]``.
        query: The query or question.
        entries: The assistant's entries, in the order answered.
        text: The assistant's answer in words (questions).
        truth: The right entries, or None if they are not known.
        truth_text: The right answer in words (questions).
        note: A remark beside the query, e.g. where the image comes from.
        annotated: Whether the entries are annotations: nobody answered, and there are no probabilities.
    """

    image: NDArray[np.uint8]
    query: str
    entries: Sequence[AnsweredEntry]
    text: str = ""
    truth: Sequence[AnsweredEntry] | None = None
    truth_text: str = ""
    note: str = ""
    annotated: bool = False

    def wrong(self) -> set[str]:
        """Return the names whose presence was decided wrongly."""
        right = {entry.name: entry.present for entry in self.truth or ()}
        return {entry.name for entry in self.entries if right.get(entry.name, entry.present) != entry.present}


GAP = 12
SIZE = 18
SMALL = 15

_CARD = (250, 250, 252)
_EDGE = (222, 224, 230)
_LEGEND_LINES = 6

Lines = list[tuple[str, tuple[int, int, int]]]


@dataclass(frozen=True)
class ExamplePanel:
    """How a card looks.

    Args:
        case: The answer.
        colours: Colour of each present name.
        side: Longer side of each drawn image in pixels.
    """

    case: Example
    colours: dict[str, RGB]
    side: int

    def draw(self) -> Image.Image:
        """Draw it: as wide as its panels, and as high as it takes."""
        panels = self._panels()
        room = self._side + (len(panels) - 1) * (self._side + GAP)
        parts = [text_block(self._head(room), room, SIZE), self._row(panels, room), self._answer(room)]
        card = Image.new("RGB", (room + 2 * GAP, sum(part.height for part in parts) + 4 * GAP), _CARD)
        top = GAP
        for part in parts:
            card.paste(_on_card(part), (GAP, top))
            top += part.height + GAP
        ImageDraw.Draw(card).rectangle((0, 0, card.width - 1, card.height - 1), outline=_EDGE)
        return card

    @property
    def _alone(self) -> bool:
        return not self.case.entries and self.case.truth is None

    @property
    def _side(self) -> int:
        # three cards with one panel are as wide as one with three
        return max(1, self.side - 4 * GAP // 3) if self._alone else self.side

    def _head(self, room: int) -> Lines:
        note = [(shorten(self.case.note, room, SIZE), FAINT)] if self.case.note else []
        return [*note, *((line, INK) for line in wrap(self.case.query, room, SIZE, 2))]

    def _panels(self) -> dict[str, Image.Image]:
        case = self.case
        panels = {"image": scaled(case.image, self._side)}
        if not self._alone:
            panels["annotated" if case.annotated else "answer"] = overlay(
                case.image, case.entries, self.colours, side=self.side
            )
        if case.truth is not None:
            panels["truth"] = overlay(case.image, case.truth, self.colours, side=self.side)
        return panels

    def _row(self, panels: dict[str, Image.Image], room: int) -> Image.Image:
        caption = line_height(SMALL) if len(panels) > 1 else 0
        row = Image.new("RGB", (room, caption + max(panel.height for panel in panels.values())), _CARD)
        for place, (name, panel) in enumerate(panels.items()):
            left = place * (self.side + GAP)
            if caption:
                row.paste(_on_card(text_block([(name, FAINT)], self.side, SMALL)), (left, 0))
            row.paste(panel, (left, caption))
        return row

    def _answer(self, room: int) -> Image.Image:
        if not self.case.entries:
            return text_block(self._words(room), room, SIZE)
        size = SIZE if len(self.case.entries) == 1 else SMALL
        legend = Legend(self.case.entries, self.colours, size, not self.case.annotated, self.case.wrong())
        return legend.across(room, _LEGEND_LINES)

    def _words(self, room: int) -> Lines:
        case = self.case
        right = not case.truth_text or case.text.strip().casefold() == case.truth_text.strip().casefold()
        lines = [(line, INK if right else WRONG) for line in wrap(case.text or "(no answer)", room, SIZE, 5)]
        truth = f"truth: {case.truth_text}" if case.truth_text else ""
        return lines + [(line, QUIET) for line in wrap(truth, room, SIZE, 4)]


def rows_of(cards: Sequence[Image.Image], room: int) -> list[list[Image.Image]]:
    """Share cards out among rows that are no wider than some room, in their order."""
    rows: list[list[Image.Image]] = []
    for card in cards:
        if rows and sum(other.width + GAP for other in rows[-1]) + card.width <= room:
            rows[-1].append(card)
        else:
            rows.append([card])
    return rows


def _on_card(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture)
    return Image.fromarray(np.minimum(pixels, np.asarray(_CARD, dtype=np.uint8)))


__all__ = ["Example", "contact_sheet"]

KEY = "Struck through: said to be absent. Number: the probability of being present. Hollow square: no mask."
KEY_OF_ANNOTATIONS = "Struck through: known to be absent."
KEY_OF_RED = "Red: decided wrongly."

_MARGIN = 20


def contact_sheet(cases: Sequence[Example], *, columns: int = 2, side: int = 240) -> Image.Image:
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
    cards = [ExamplePanel(case, colours, side).draw() for case in cases]
    room = columns * max(card.width for card in cards) + (columns - 1) * GAP
    rows = rows_of(cards, room)
    width = max(sum(card.width + GAP for card in row) - GAP for row in rows)
    return _laid_out(rows, _key(cases, width))


def _key(cases: Sequence[Example], width: int) -> Image.Image:
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
