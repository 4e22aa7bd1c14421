"""Markdown as a plain HTML page: headings, lists, tables, bold words and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px}td,th{border:1px solid #ccc;padding:.2em .6em}"
    "img{max-width:100%}"
)


def to_page(title: str, markdown: str, pictures: Sequence[str] = ()) -> str:
    """Return a page that needs nothing but the pictures beside it.

    Args:
        title: Its title.
        markdown: Headings with ``#``, lists with ``-``, tables with ``|``, ``**bold**`` and plain lines.
        pictures: File names of pictures, shown after the text.
    """
    body = [_block(kind, list(lines)) for kind, lines in groupby(markdown.splitlines(), _kind)]
    shown = [f'<p><img src="{escape(name)}" alt="{escape(name)}"></p>' for name in pictures]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return "\n".join(
        [f"<!doctype html><html><head>{head}</head><body>", f"<h1>{escape(title)}</h1>", *body, *shown]
    ) + ("\n</body></html>\n")


def _kind(line: str) -> str:
    return {"#": "heading", "-": "list", "|": "table"}.get(line[:1], "text")


def _block(kind: str, lines: list[str]) -> str:
    if kind == "heading":
        return "\n".join(f"<h{_level(line)}>{_inline(line.lstrip('# '))}</h{_level(line)}>" for line in lines)
    if kind == "list":
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    if kind == "table":
        return "<table>" + "".join(_rows(lines)) + "</table>"
    return "\n".join(f"<p>{_inline(line)}</p>" for line in lines if line)


def _rows(lines: list[str]) -> Iterable[str]:
    for rank, line in enumerate(lines):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            tag = "td" if rank else "th"
            yield "<tr>" + "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells) + "</tr>"


def _level(line: str) -> int:
    return len(line) - len(line.lstrip("#"))


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
