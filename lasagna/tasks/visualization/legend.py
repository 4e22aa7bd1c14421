"""Draw text, and the legend of an answer: its entries in order, in as many columns as needed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, lru_cache

from PIL import Image, ImageDraw, ImageFont

from lasagna.core.answer import AnsweredEntry
from lasagna.tasks.visualization.overlay import RGB

INK = (28, 30, 36)
QUIET = (96, 100, 108)
FAINT = (140, 144, 152)
WHITE = (255, 255, 255)
WRONG = (200, 30, 40)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_TEXTS = 2048
"""Texts whose widths and shapes are remembered, since the pictures of a folder have the same names beside them."""


@cache
def font(size: int) -> Font:
    """Return Pillow's default font; it has Latin letters, and draws a box for others."""
    return ImageFont.load_default(size)


@lru_cache(_TEXTS)
def text_width(text: str, size: int) -> int:
    """Return the width of one line of text in pixels."""
    return round(font(size).getlength(text))


def line_height(size: int) -> int:
    """Return the distance from one line to the next in pixels."""
    return round(size * 1.45)


def shorten(text: str, width: int, size: int) -> str:
    """Cut a text to a width, with dots if something is left out."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(text[:middle] + "...", size) <= width else (low, middle - 1)
    return text[:low].rstrip() + "..."


def wrap(text: str, width: int, size: int, lines: int) -> list[str]:
    """Break a text into at most ``lines`` lines; the last one is shortened."""
    words = text.split()
    broken: list[str] = []
    while words and len(broken) < lines - 1:
        count = 1
        while count < len(words) and text_width(" ".join(words[: count + 1]), size) <= width:
            count += 1
        broken.append(shorten(" ".join(words[:count]), width, size))
        words = words[count:]
    return [*broken, shorten(" ".join(words), width, size)] if words else broken


def write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, ink: tuple[int, int, int]) -> None:
    """Write a line of text; ``place`` is the middle of its left edge."""
    if not text:
        return
    (left, top), shape = _shape(text, size)
    draw.bitmap((place[0] + left, place[1] + top), shape, fill=ink)


@lru_cache(_TEXTS)
def _shape(text: str, size: int) -> tuple[tuple[int, int], Image.Image]:
    """Return where a line of text begins, as seen from the middle of its left edge, and how much ink each pixel has."""
    left, top, right, bottom = font(size).getbbox(text, anchor="lm")
    begin = math.floor(left), math.floor(top)
    shape = Image.new("L", (max(1, math.ceil(right) - begin[0]), max(1, math.ceil(bottom) - begin[1])))
    ImageDraw.Draw(shape).text((-begin[0], -begin[1]), text, fill=255, font=font(size), anchor="lm")
    return begin, shape


def text_block(lines: list[tuple[str, tuple[int, int, int]]], width: int, size: int) -> Image.Image:
    """Draw lines of text, each in its colour, on white."""
    height = line_height(size)
    block = Image.new("RGB", (width, max(1, height * len(lines))), WHITE)
    draw = ImageDraw.Draw(block)
    for row, (text, ink) in enumerate(lines):
        write(draw, (0, row * height + height // 2), text, size, ink)
    return block


_WIDEST_NAME = 15
_MOST_COLUMNS = 4
_SCORE = "0.00"


@dataclass(frozen=True)
class Legend:
    """The legend of an answer.

    Args:
        entries: The entries of the answer.
        colours: Colour of each name that is present or should be.
        size: Font size in pixels.
        scores: Whether to show scores.
        wrong: Names with a wrong decision, drawn in red; missed names have a hollow swatch.
        counts: True numbers of masks of the names of which an answer has another number, which are drawn in red too.
    """

    entries: Sequence[AnsweredEntry]
    colours: Mapping[str, RGB]
    size: int
    scores: bool = True
    wrong: Collection[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def row_height(self) -> int:
        """Height of an entry in pixels."""
        return line_height(self.size)

    @cached_property
    def column_width(self) -> int:
        """Width of a column in pixels: that of the longest name, up to a limit, with what is said behind it."""
        limit = _WIDEST_NAME * self.size
        widths = [
            min(text_width(entry.name, self.size), limit) + text_width(self._note(entry), self.size)
            for entry in self.entries
        ]
        return self._name_left + max(widths, default=0) + self._score_width + self.size

    def _note(self, entry: AnsweredEntry) -> str:
        """Return what stands behind the name of an entry, which is never cut."""
        if entry.empty:
            return " (empty mask)"
        count, true = len(entry.masks), self.counts.get(entry.name)
        masks = f"{count} mask{'s' * (count != 1)}"
        return f" ({masks}, not {true})" if true is not None else f" ({masks})" if count > 1 else ""

    @property
    def _name_left(self) -> int:
        return round(self.size * 1.5)

    @property
    def _score_width(self) -> int:
        return text_width(_SCORE, self.size) + self.size if self.scores else 0

    def beside(self, height: int) -> Image.Image:
        """Draw the legend in columns of a height; they are higher if there would be too many."""
        rows = max(1, height // self.row_height, -(-len(self.entries) // _MOST_COLUMNS))
        return self._draw(rows=rows, columns=None)

    def below(self, width: int) -> Image.Image:
        """Draw the legend in as many columns as fit a width, at least one."""
        columns = max(1, (width + self.size) // self.column_width)
        return self._draw(rows=-(-len(self.entries) // columns), columns=None)

    def across(self, width: int, most_rows: int) -> Image.Image:
        """Draw the legend in as many columns as fit a width; state how many entries are left out beyond ``most_rows``.

        If entries are left out, those that are present or wrong come first.
        """
        columns = max(1, (width + self.size) // self.column_width)
        rows = max(1, min(most_rows, -(-len(self.entries) // columns)))
        if len(self.entries) <= rows * columns:
            return self._draw(rows, columns)
        important_first = sorted(self.entries, key=lambda entry: not (entry.present or entry.name in self.wrong))
        return replace(self, entries=important_first)._draw(rows, columns)

    def _draw(self, rows: int, columns: int | None) -> Image.Image:
        room = len(self.entries) if columns is None else rows * columns
        cut = len(self.entries) > room
        shown = self.entries[: room - 1] if cut else self.entries
        used = max(1, -(-(len(shown) + cut) // max(1, rows)))
        filled = max(1, min(rows, len(shown) + cut))
        picture = Image.new("RGB", (used * self.column_width - self.size, filled * self.row_height), WHITE)
        draw = ImageDraw.Draw(picture)
        for place, entry in enumerate(shown):
            self._draw_entry(draw, entry, *self._corner(place, rows))
        if cut:
            left, top = self._corner(len(shown), rows)
            middle = top + self.row_height // 2
            more = f"+ {len(self.entries) - len(shown)} more"
            write(draw, (left + self._name_left, middle), more, self.size, FAINT)
        return picture

    def _corner(self, place: int, rows: int) -> tuple[int, int]:
        return place // rows * self.column_width, place % rows * self.row_height

    def _draw_entry(self, draw: ImageDraw.ImageDraw, entry: AnsweredEntry, left: int, top: int) -> None:
        middle = top + self.row_height // 2
        if entry.present or (entry.name in self.wrong and entry.name in self.colours):
            self._draw_swatch(draw, entry, left, middle)
        room = self.column_width - self._name_left - self._score_width - self.size
        note = self._note(entry)
        name = shorten(entry.name, room - text_width(note, self.size), self.size) + note
        place = (left + self._name_left, middle)
        wrong = entry.name in self.wrong or entry.name in self.counts
        write(draw, place, name, self.size, WRONG if wrong else INK if entry.present else FAINT)
        if not entry.present:
            strike = middle + round(self.size * 0.08)
            end = place[0] + text_width(name, self.size)
            width = max(1, self.size // 12)
            draw.line((place[0] - 2, strike, end + 2, strike), fill=WRONG if wrong else FAINT, width=width)
        if self.scores:
            right = left + self.column_width - self.size - text_width(_SCORE, self.size)
            write(draw, (right, middle), f"{entry.score:.2f}", self.size, FAINT)

    def _draw_swatch(self, draw: ImageDraw.ImageDraw, entry: AnsweredEntry, left: int, middle: int) -> None:
        half = round(self.size * 0.48)
        box = (left, middle - half, left + 2 * half, middle + half)
        colour = self.colours[entry.name]
        fill = WHITE if entry.mask is None or not entry.mask.any() else colour
        draw.rounded_rectangle(box, radius=max(2, half // 3), fill=fill, outline=colour, width=max(1, half // 4))
