"""Text in pictures, with the font that comes with Pillow: measured, shortened and wrapped."""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw, ImageFont

INK = (28, 30, 36)
QUIET = (96, 100, 108)
FAINT = (140, 144, 152)
WHITE = (255, 255, 255)
WRONG = (200, 30, 40)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def font(size: int) -> Font:
    """Return Pillow's own font; it draws Latin letters, and a box for letters that it lacks."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> int:
    """Return the width of one line of text in pixels."""
    return round(font(size).getlength(text))


def line_height(size: int) -> int:
    """Return the distance from one line to the next in pixels."""
    return round(size * 1.45)


def shorten(text: str, width: int, size: int) -> str:
    """Return as much of a text as fits a width, with dots where something is left out."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if text_width(text[:middle] + "...", size) <= width else (low, middle - 1)
    return text[:low].rstrip() + "..."


def wrap(text: str, width: int, size: int, lines: int) -> list[str]:
    """Break a text into at most some lines, the last one shortened."""
    words = text.split()
    broken: list[str] = []
    while words and len(broken) < lines - 1:
        count = _words_that_fit(words, width, size)
        broken.append(shorten(" ".join(words[:count]), width, size))
        words = words[count:]
    return [*broken, shorten(" ".join(words), width, size)] if words else broken


def _words_that_fit(words: list[str], width: int, size: int) -> int:
    count = 1
    while count < len(words) and text_width(" ".join(words[: count + 1]), size) <= width:
        count += 1
    return count


def write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, size: int, ink: tuple[int, int, int]) -> None:
    """Write one line with its middle height at a place, from left to right."""
    draw.text(place, text, fill=ink, font=font(size), anchor="lm")


def text_block(lines: list[tuple[str, tuple[int, int, int]]], width: int, size: int) -> Image.Image:
    """Return lines of text, each with its colour, on paper."""
    height = line_height(size)
    block = Image.new("RGB", (width, max(1, height * len(lines))), WHITE)
    draw = ImageDraw.Draw(block)
    for row, (text, ink) in enumerate(lines):
        write(draw, (0, row * height + height // 2), text, size, ink)
    return block
