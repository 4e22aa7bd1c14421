"""Markdown as a plain HTML page: headings, lists, tables, bold words and pictures."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from itertools import groupby
from pathlib import Path

from PIL import Image

_LARGE = 150_000
_QUALITY = 88


def data_uri(content: bytes) -> str:
    """Return a picture as a data URI; a large PNG becomes a JPEG where that is smaller.

    Args:
        content: The file, PNG or JPEG.
    """
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    if kind == "png" and len(content) > _LARGE and len(jpeg := _as_jpeg(content)) < len(content):
        kind, content = "jpeg", jpeg
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _as_jpeg(content: bytes) -> bytes:
    stream = BytesIO()
    with Image.open(BytesIO(content)) as image:
        # colours at full resolution: thin coloured letters stay legible
        image.convert("RGB").save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:70em;margin:2em auto;padding:0 1em;"
    "overflow-wrap:anywhere}"
    "h2{margin-top:2.2em;padding-bottom:.2em;border-bottom:1px solid #ddd}"
    ".wide{overflow-x:auto;margin:1em 0}td:first-child{white-space:nowrap}"
    "table{border-collapse:collapse;font-size:13px;overflow-wrap:normal}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #e4e4e4;text-align:left;vertical-align:top}"
    "th{background:#f4f5f7;vertical-align:bottom}tr:hover td{background:#fafafa}"
    ".n{text-align:right;font-variant-numeric:tabular-nums}"
    "figure{margin:1.2em 0}figcaption{color:#666;font-size:13px}img{max-width:100%}"
)
_PICTURE = re.compile(r"!\[(.*)\]\((.+)\)")
_BAR = re.compile(r"(?<!\\)\|")


def to_page(title: str, markdown: str, pictures: Sequence[str] = (), folder: Path | None = None) -> str:
    r"""Return a page that needs nothing else, or nothing but the pictures beside it.

    Args:
        title: Its title.
        markdown: Headings with ``#``, lists with ``-``, tables with ``|`` (columns of numbers with ``---:``, and ``\|``
            within a cell), ``**bold**``, pictures by themselves (``![caption](file)``) and plain lines.
        pictures: File names of pictures, shown after the text.
        folder: The folder of all pictures, which are put into the page; None for a page that refers to them.
    """
    body = [_block(kind, list(lines), folder) for kind, lines in groupby(markdown.splitlines(), _kind)]
    shown = [_figure(name, name, folder) for name in pictures]
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{escape(title)}</title><style>{_STYLE}</style>"
    return "\n".join(
        [f"<!doctype html><html><head>{head}</head><body>", f"<h1>{escape(title)}</h1>", *body, *shown]
    ) + ("\n</body></html>\n")


def _kind(line: str) -> str:
    return {"#": "heading", "-": "list", "|": "table", "!": "picture"}.get(line[:1], "text")


def _block(kind: str, lines: list[str], folder: Path | None) -> str:
    if kind == "heading":
        return "\n".join(f"<h{_level(line)}>{_inline(line.lstrip('# '))}</h{_level(line)}>" for line in lines)
    if kind == "list":
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    if kind == "table":
        return '<div class="wide"><table>' + "".join(_rows(lines)) + "</table></div>"
    if kind == "picture":
        found = map(_PICTURE.fullmatch, lines)
        return "\n".join(_figure(one[2], one[1], folder) for one in found if one)
    return "\n".join(f"<p>{_inline(line)}</p>" for line in lines if line)


def _rows(lines: list[str]) -> Iterable[str]:
    table = [[cell.strip() for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))] for line in lines]
    rules = next(filter(_is_rule, table), [])
    kinds = [' class="n"' if rule.endswith(":") else "" for rule in rules] or [""] * max(map(len, table))
    for rank, cells in enumerate(table):
        if not _is_rule(cells):
            tag = "td" if rank else "th"
            shown = (f"<{tag}{kind}>{_inline(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=False))
            yield "<tr>" + "".join(shown) + "</tr>"


def _is_rule(cells: list[str]) -> bool:
    return all(re.fullmatch(r":?-+:?", cell) for cell in cells)


def _figure(file: str, caption: str, folder: Path | None) -> str:
    source = file if folder is None else data_uri((folder / file).read_bytes())
    told = "" if caption == file else f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure><img src="{escape(source)}" alt="{escape(caption)}">{told}</figure>'


def _level(line: str) -> int:
    return len(line) - len(line.lstrip("#"))


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text).replace("\\|", "|"))


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
