"""Markdown as a plain HTML page: headings, lists, tables, bold words and pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;overflow-wrap:anywhere}"
    "h2{margin-top:2em;border-top:1px solid #ccc;padding-top:.6em}"
    "table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto;overflow-wrap:normal}"
    "td,th{border:1px solid #ccc;padding:.2em .6em;text-align:left}.n{text-align:right}"
    "img{max-width:100%}"
)
_PICTURE = re.compile(r"!\[(.*?)\]\((.+?)\)")
_BAR = re.compile(r"(?<!\\)\|")


def to_page(title: str, markdown: str, pictures: Sequence[str] = ()) -> str:
    r"""Return a page that needs nothing but the pictures beside it.

    Args:
        title: Its title.
        markdown: Headings with ``#``, lists with ``-``, tables with ``|`` (columns of numbers with ``---:``, and ``\|``
            within a cell), ``**bold**``, pictures as lines ``![what it shows](file)``, and plain lines.
        pictures: File names of pictures, shown after the text.
    """
    body = [_block(kind, list(lines)) for kind, lines in groupby(markdown.splitlines(), _kind)]
    shown = [_picture(name, name) for name in pictures]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
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
    return "\n".join(map(_text, filter(None, lines)))


def _text(line: str) -> str:
    found = _PICTURE.fullmatch(line)
    return _picture(found[2], found[1]) if found else f"<p>{_inline(line)}</p>"


def _picture(file: str, shows: str) -> str:
    return f'<p><img src="{escape(file)}" alt="{escape(shows)}"></p>'


def _rows(lines: list[str]) -> Iterator[str]:
    table = [[cell.strip() for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))] for line in lines]
    rules = [row for row in table if all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    numbers = [place for place, rule in enumerate(rules[0]) if rule.endswith(":")] if rules else []
    for rank, row in enumerate(table):
        if row not in rules:
            yield "<tr>" + "".join(_cell(cell, rank == 0, place in numbers) for place, cell in enumerate(row)) + "</tr>"


def _cell(text: str, is_head: bool, is_number: bool) -> str:
    tag, kind = "th" if is_head else "td", ' class="n"' if is_number else ""
    return f"<{tag}{kind}>{_inline(text)}</{tag}>"


def _level(line: str) -> int:
    return len(line) - len(line.lstrip("#"))


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text)).replace("\\|", "|")
