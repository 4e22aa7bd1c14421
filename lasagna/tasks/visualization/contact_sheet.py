"""Contact sheets: many answers as panels, each with its query, image, masks, truth and legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lasagna.core.answer import AnsweredEntry
from lasagna.tasks.visualization.answer import present_names
from lasagna.tasks.visualization.caption import caption_block
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
    """An answer on a contact sheet.

    Args:
        image: uint8 ``[H, W, 3]``.
        query: The query or question.
        entries: The entries of the answer, in its order.
        text: The answer in words (questions, captions).
        truth: The right entries, or None if they are not known.
        truth_text: The right answer in words (questions, captions).
        note: A remark beside the query, e.g. the origin of the image.
        annotated: Whether the entries are annotations rather than an answer, and have no probabilities.
        counts: True number of objects of names whose objects are asked for.
    """

    image: NDArray[np.uint8]
    query: str
    entries: Sequence[AnsweredEntry]
    text: str = ""
    truth: Sequence[AnsweredEntry] | None = None
    truth_text: str = ""
    note: str = ""
    annotated: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_caption(self) -> bool:
        """Whether masks stand among its words."""
        return any(entry.span is not None for entry in (*self.entries, *(self.truth or ())))

    def wrong(self) -> set[str]:
        """Return the names with a wrong presence decision."""
        right = {entry.name: entry.present for entry in self.truth or ()}
        return {entry.name for entry in self.entries if right.get(entry.name, entry.present) != entry.present}

    def wrong_counts(self) -> dict[str, int]:
        """Return the true number of objects of the names that are found in another number."""
        found = {entry.name: len(entry.masks) for entry in self.entries if entry.present}
        return {name: true for name, true in self.counts.items() if found.get(name, true) != true}


GAP = 12
SIZE = 18
SMALL = 15

_PAPER = (250, 250, 252)
_EDGE = (222, 224, 230)
_LEGEND_LINES = 6

Lines = list[tuple[str, tuple[int, int, int]]]


@dataclass(frozen=True)
class ExamplePanel:
    """Layout of an example on a contact sheet.

    Args:
        example: The example.
        colours: Colour of each present name.
        side: Longer side of each drawn image in pixels.
    """

    example: Example
    colours: dict[str, RGB]
    side: int

    def draw(self) -> Image.Image:
        """Draw the panel; its width follows from the images, its height from the text."""
        images = self._images()
        room = self._side + (len(images) - 1) * (self._side + GAP)
        parts = [text_block(self._head(room), room, SIZE), self._row(images, room), self._answer(room)]
        panel = Image.new("RGB", (room + 2 * GAP, sum(part.height for part in parts) + 4 * GAP), _PAPER)
        top = GAP
        for part in parts:
            panel.paste(_on_paper(part), (GAP, top))
            top += part.height + GAP
        ImageDraw.Draw(panel).rectangle((0, 0, panel.width - 1, panel.height - 1), outline=_EDGE)
        return panel

    @property
    def _has_one_image(self) -> bool:
        return not self.example.entries and self.example.truth is None

    @property
    def _side(self) -> int:
        # three panels with one image are as wide as one with three images
        return max(1, self.side - 4 * GAP // 3) if self._has_one_image else self.side

    def _head(self, room: int) -> Lines:
        note = [(shorten(self.example.note, room, SIZE), FAINT)] if self.example.note else []
        return [*note, *((line, INK) for line in wrap(self.example.query, room, SIZE, 2))]

    def _images(self) -> dict[str, Image.Image]:
        example = self.example
        images = {"image": scaled(example.image, self._side)}
        if not self._has_one_image:
            name = "annotated" if example.annotated else "answer"
            images[name] = overlay(example.image, example.entries, self.colours, side=self.side)
        if example.truth is not None:
            images["truth"] = overlay(example.image, example.truth, self.colours, side=self.side)
        return images

    def _row(self, images: dict[str, Image.Image], room: int) -> Image.Image:
        caption = line_height(SMALL) if len(images) > 1 else 0
        row = Image.new("RGB", (room, caption + max(image.height for image in images.values())), _PAPER)
        for place, (name, image) in enumerate(images.items()):
            left = place * (self.side + GAP)
            if caption:
                row.paste(_on_paper(text_block([(name, FAINT)], self.side, SMALL)), (left, 0))
            row.paste(image, (left, caption))
        return row

    def _answer(self, room: int) -> Image.Image:
        if self.example.is_caption:
            return self._captions(room)
        if not self.example.entries:
            return text_block(self._words(room), room, SIZE)
        example, size = self.example, SIZE if len(self.example.entries) == 1 else SMALL
        wrong, counts = example.wrong(), example.wrong_counts()
        legend = Legend(example.entries, self.colours, size, not example.annotated, wrong, counts)
        shown = legend.across(room, _LEGEND_LINES)
        return _stacked([shown, text_block(self._words(room), room, SIZE)], room) if example.text else shown

    def _captions(self, room: int) -> Image.Image:
        """Draw the caption, and the true one below it, with coloured phrases."""
        example, parts = self.example, list[Image.Image]()
        parts.append(caption_block(example.text or "(no words)", example.entries, self.colours, room, SIZE, 5))
        if example.truth is not None:
            parts.append(text_block([("truth", FAINT)], room, SMALL))
            parts.append(caption_block(example.truth_text, example.truth, self.colours, room, SIZE, 5))
        return _stacked(parts, room)

    def _words(self, room: int) -> Lines:
        example = self.example
        # words behind a mask have its token before them, and seldom equal others
        right = (
            bool(example.entries)
            or not example.truth_text
            or example.text.strip().casefold() == example.truth_text.strip().casefold()
        )
        lines = [(line, INK if right else WRONG) for line in wrap(example.text or "(no answer)", room, SIZE, 5)]
        truth = f"truth: {example.truth_text}" if example.truth_text else ""
        return lines + [(line, QUIET) for line in wrap(truth, room, SIZE, 4)]


def _stacked(parts: Sequence[Image.Image], width: int) -> Image.Image:
    block, top = Image.new("RGB", (width, sum(part.height for part in parts)), WHITE), 0
    for part in parts:
        block.paste(part, (0, top))
        top += part.height
    return block


def in_rows(panels: Sequence[Image.Image], room: int) -> list[list[Image.Image]]:
    """Distribute panels, in their order, over rows that are at most ``room`` pixels wide."""
    rows: list[list[Image.Image]] = []
    for panel in panels:
        if rows and sum(other.width + GAP for other in rows[-1]) + panel.width <= room:
            rows[-1].append(panel)
        else:
            rows.append([panel])
    return rows


def _on_paper(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture)
    return Image.fromarray(np.minimum(pixels, np.asarray(_PAPER, dtype=np.uint8)))


__all__ = ["Example", "contact_sheet"]

KEY = "Struck through: called absent. Number: the probability of being present. Hollow square: no mask."
KEY_OF_ANNOTATIONS = "Struck through: known to be absent."
KEY_OF_CAPTIONS = "Phrases have the colour of their masks."
KEY_OF_RED = "Red: wrong decision."
KEY_OF_COUNTS = "Red: wrong decision, or wrong number of masks."

_MARGIN = 20


def contact_sheet(examples: Sequence[Example], *, columns: int = 2, side: int = 240) -> Image.Image:
    """Draw answers on one sheet; each name has the same colour throughout.

    Args:
        examples: The answers, drawn row by row.
        columns: Answers in a row; there is room for more questions, which have only one image.
        side: Longer side of each drawn image in pixels.

    Raises:
        ValueError: If there are no answers, or if columns or side are not positive.
    """
    if not examples:
        raise ValueError("examples: a contact sheet needs at least one answer, got none")
    if columns < 1 or side < 1:
        raise ValueError(f"columns and side must be positive, got {columns} and {side}")
    entries = [entry for example in examples for entry in (*(example.truth or ()), *example.entries)]
    colours = name_colours(present_names(entries))
    panels = [ExamplePanel(example, colours, side).draw() for example in examples]
    room = columns * max(panel.width for panel in panels) + (columns - 1) * GAP
    rows = in_rows(panels, room)
    width = max(sum(panel.width + GAP for panel in row) - GAP for row in rows)
    return _paste_rows(rows, _key(examples, width))


def _key(examples: Sequence[Example], width: int) -> Image.Image:
    keys = [KEY_OF_CAPTIONS] if any(example.is_caption for example in examples) else []
    others = [example for example in examples if not example.is_caption]
    if any(example.entries for example in others):
        keys.insert(0, KEY_OF_ANNOTATIONS if all(example.annotated for example in others) else KEY)
    lines = [(line, QUIET) for line in wrap(" ".join(keys), width, SIZE, 4)]
    if any(example.truth or example.truth_text for example in others):
        red = KEY_OF_COUNTS if any(example.counts for example in others) else KEY_OF_RED
        lines += [(line, WRONG) for line in wrap(red, width, SIZE, 4)]
    return text_block(lines, width, SIZE)


def _paste_rows(rows: list[list[Image.Image]], key: Image.Image) -> Image.Image:
    heights = [max(panel.height for panel in row) for row in rows]
    size = (key.width + 2 * _MARGIN, 2 * _MARGIN + key.height + sum(heights) + len(rows) * GAP)
    sheet = Image.new("RGB", size, WHITE)
    sheet.paste(key, (_MARGIN, _MARGIN))
    top = _MARGIN + key.height + GAP
    for row, height in zip(rows, heights, strict=True):
        left = _MARGIN
        for panel in row:
            sheet.paste(panel, (left, top))
            left += panel.width + GAP
        top += height + GAP
    return sheet
