"""Reports: pieces of Markdown, and the self-contained HTML page that shows them."""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from PIL import Image

_LARGE = 150_000
_QUALITY = 88
_JPEG, _PNG = b"\xff\xd8", b"\x89PNG"


def data_uri(content: bytes) -> str:
    """Return a picture as a data URI; a large PNG becomes a JPEG where that is smaller.

    Args:
        content: The file, PNG or JPEG.
    """
    kind = "jpeg" if content.startswith(_JPEG) else "png"
    if kind == "png" and len(content) > _LARGE:
        stream = BytesIO()
        with Image.open(BytesIO(content)) as image:
            # colours at full resolution keep thin coloured letters legible
            image.convert("RGB").save(stream, "JPEG", quality=_QUALITY, subsampling=0)
        if stream.tell() < len(content):
            kind, content = "jpeg", stream.getvalue()
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;color:#222;max-width:70em;margin:2em auto;padding:0 1em;"
    "overflow-wrap:anywhere}"
    "h2{margin-top:2.2em;padding-bottom:.2em;border-bottom:1px solid #ddd}"
    ".wide{overflow-x:auto;margin:1em 0}td:first-child{white-space:nowrap}"
    "table{border-collapse:collapse;font-size:13px;overflow-wrap:normal}"
    "td,th{padding:.25em .8em;border-bottom:1px solid #e4e4e4;text-align:left;vertical-align:top}"
    "th{background:#f4f5f7;vertical-align:bottom}tr:hover td{background:#fafafa}"
    "[style]{font-variant-numeric:tabular-nums}"
    "figure{margin:1.2em 0}figcaption{color:#666;font-size:13px}img{max-width:100%}"
)
_PICTURE = re.compile(r"!\[(.*)\]\(([^/\\:]+)\)")  # a file name, not a path or an address


def to_page(title: str, markdown: str, pictures: Sequence[str] = (), folder: Path | None = None) -> str:
    r"""Return an HTML page that is complete, or refers only to the pictures beside it.

    Everything else than the Markdown below is shown as it is written, HTML included, since reports contain names and
    error messages of any kind.

    Args:
        title: Title of the page.
        markdown: Headings with ``#``, lists with ``-``, tables with ``|`` (right-aligned columns with ``---:``, and
            ``\|`` within a cell), ``**bold**``, and pictures in paragraphs of their own (``![caption](file)``).
        pictures: File names of pictures, shown after the text.
        folder: Folder of all pictures, which are embedded in the page; None for a page that refers to them.
    """
    parser = MarkdownIt("zero", {"html": False}).enable(["heading", "list", "table", "emphasis"])
    tokens = parser.parse(markdown)
    for opening, text, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        found = _PICTURE.fullmatch(text.content) if opening.type == "paragraph_open" and text.level == 1 else None
        if found and (shown := _figure(found[2], found[1], folder)):
            opening.hidden = closing.hidden = True
            text.children = [Token("html_inline", "", 0, content=shown)]
        for part in text.children or ():
            if part.type in ("em_open", "em_close"):
                part.type, part.content = "text", part.markup  # names may contain single stars and underscores
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{escape(title)}</title><style>{_STYLE}</style>"
    shown = "\n".join(_figure(name, name, folder) for name in pictures)
    return f"<!doctype html><html><head>{head}</head><body>\n<h1>{escape(title)}</h1>\n{body}{shown}\n</body></html>\n"


def _figure(file: str, caption: str, folder: Path | None) -> str:
    """Return a picture with its caption; nothing if the folder has no such picture."""
    source, lazy = file, ' loading="lazy"'
    if folder is not None:
        content = (folder / file).read_bytes() if (folder / file).is_file() else b""
        if not content.startswith((_PNG, _JPEG)):
            return ""
        source, lazy = data_uri(content), ""
    below = "" if caption == file else f"<figcaption>{escape(caption)}</figcaption>"
    return f'<figure><img src="{escape(source)}" alt="{escape(caption)}"{lazy}>{below}</figure>\n'


_NUMBER = re.compile(r"-?|-?(\d+(\.\d+)?|nan)%?( ± (\d+(\.\d+)?|nan|inf))?( \(\d+\))?")
"""Cells of a column of numbers: numbers, shares, means with intervals and counts, and empty ones."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, with columns of numbers aligned at the right.

    Args:
        head: Head of each column.
        rows: Cells of each row.
    """
    cells = [list(map(plain, row)) for row in rows]
    columns = list(zip(*cells, strict=True)) or [()] * len(head)
    rules = ["---:" if column and all(map(_NUMBER.fullmatch, column)) else "---" for column in columns]
    return ["| " + " | ".join(row) + " |" for row in (list(map(plain, head)), rules, *cells)]


def figure(file: str, caption: str) -> list[str]:
    """Return the lines of a picture in a paragraph of its own.

    Args:
        file: Its file name.
        caption: Text below it.
    """
    return ["", f"![{caption}]({file})", ""]


def one_line(text: str) -> str:
    """Return a text as one line, so that none of it begins a paragraph, a picture or a heading of its own.

    Args:
        text: Any text.
    """
    return " ".join(text.split())


def plain(text: str) -> str:
    """Return a text as one line that a cell of a table can hold.

    Args:
        text: Any text.
    """
    return one_line(text.replace("|", "\\|"))


def number(value: float) -> str:
    """Return a score as text, a dash where nothing was measured.

    Args:
        value: The score, or NaN.
    """
    return "-" if math.isnan(value) else f"{value:.3f}"
