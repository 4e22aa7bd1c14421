"""Draw words with masks among them: each phrase on a ground in the colour of its mask."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from lasagna.core.answer import AnsweredEntry
from lasagna.tasks.visualization.legend import INK, WHITE, line_height, shorten, text_width, write
from lasagna.tasks.visualization.overlay import RGB

GROUND = 0.45
"""How much of a phrase's colour its ground has, beside white, so that the words can be read."""


@dataclass(frozen=True)
class Run:
    """Words of one line that share a colour.

    Args:
        words: The words.
        left: Where they begin, in pixels.
        colour: Colour of their phrase, or None.
    """

    words: str
    left: int
    colour: RGB | None = None


def caption_block(
    text: str,
    entries: Sequence[AnsweredEntry],
    colours: Mapping[str, RGB],
    width: int,
    size: int,
    lines: int,
) -> Image.Image:
    """Draw words with coloured phrases on white.

    Args:
        text: The words.
        entries: The phrases, with their spans in the text; those without a span are not in it.
        colours: Colour of each present phrase.
        width: Width in pixels.
        size: Font size in pixels.
        lines: Maximum number of lines; the last one is shortened.
    """
    rows = list(_rows(_words(text, entries, colours), width, size, lines))
    height = line_height(size)
    block = Image.new("RGB", (width, max(1, height * len(rows))), WHITE)
    draw = ImageDraw.Draw(block)
    for row, runs in enumerate(rows):
        top = row * height
        for run in runs:
            if run.colour is not None:
                red, green, blue = (round(255 + GROUND * (level - 255)) for level in run.colour)
                box = (run.left, top, run.left + text_width(run.words, size), top + height - 2)
                draw.rounded_rectangle(box, radius=3, fill=(red, green, blue))
            write(draw, (run.left, top + height // 2), run.words, size, INK)
    return block


def _words(
    text: str, entries: Sequence[AnsweredEntry], colours: Mapping[str, RGB]
) -> Iterator[tuple[str, int, RGB | None]]:
    """Yield each word with the rank of its phrase, or -1, and the phrase's colour."""
    spans = [(rank, entry) for rank, entry in enumerate(entries) if entry.span is not None and entry.present]
    for word in re.finditer(r"\S+", text):
        inside = [(rank, entry) for rank, entry in spans if entry.span and _meet(word.span(), entry.span)]
        rank, colour = (inside[0][0], colours.get(inside[0][1].name)) if inside else (-1, None)
        yield word[0], rank, colour


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _rows(words: Iterator[tuple[str, int, RGB | None]], width: int, size: int, lines: int) -> Iterator[list[Run]]:
    """Yield the runs of each line; the words of one phrase in a line are one run."""
    left_over, blank, row = list(words), text_width(" ", size), 0
    while left_over and row < lines:
        runs, left, last = list[Run](), 0, None
        while left_over:
            word, rank, colour = left_over[0]
            if left and left + text_width(word, size) > width:
                break
            left_over.pop(0)
            word = word if left else shorten(word, width, size)
            if runs and rank == last and rank >= 0:
                runs[-1] = Run(f"{runs[-1].words} {word}", runs[-1].left, colour)
            else:
                runs.append(Run(word, left, colour))
            last, left = rank, runs[-1].left + text_width(runs[-1].words, size) + blank
        row += 1
        if left_over and row == lines:
            runs[-1] = Run(f"{runs[-1].words} ...", runs[-1].left, runs[-1].colour)
        yield runs
