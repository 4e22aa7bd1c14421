"""Pieces of Markdown that reports are put together from; ``html_page`` reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

_NUMBER = re.compile(r"-?|-?(\d+(\.\d+)?|nan)%?( ± (\d+(\.\d+)?|nan|inf))?( \(\d+\))?")
"""What a column of numbers holds: numbers, shares, means with intervals and counts, and places without any."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, with columns of numbers aligned at the right.

    Args:
        head: The head of each column.
        rows: The cells of each row.
    """
    cells = [list(map(plain, row)) for row in rows]
    columns = list(zip(*cells, strict=True)) or [()] * len(head)
    rules = ["---:" if column and all(map(_NUMBER.fullmatch, column)) else "---" for column in columns]
    return ["| " + " | ".join(row) + " |" for row in (list(map(plain, head)), rules, *cells)]


def figure(file: str, caption: str) -> list[str]:
    """Return a picture that stands by itself, with what is to be seen there."""
    return ["", f"![{caption}]({file})"]


def plain(text: str) -> str:
    """Return a text as one line that a cell of a table can hold."""
    return " ".join(text.replace("|", "\\|").split())


def number(value: float) -> str:
    """Return a score as text, a dash where nothing was measured."""
    return "-" if math.isnan(value) else f"{value:.3f}"
