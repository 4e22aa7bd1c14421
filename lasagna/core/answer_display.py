"""Answers for the eye: masks over the image with matplotlib, and a table for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hsv_to_rgb
from html import escape
from io import BytesIO
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.pages import data_uri
from lasagna.errors import QueryError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

THUMBNAIL = 96
"""Longer side of the masks in a notebook's table, in pixels."""

DARKER, LIGHTER = 0.4, 0.5
"""How far the shades of several objects go from the colour of their name towards black and white."""

_ABSENT_SHOWN = 20
_LEGEND_ROWS = 18
_CHARACTERS = 60
_OPACITY = 0.5


def shades(colour: Sequence[float], count: int, white: float = 1.0) -> list[tuple[float, ...]]:
    """Return a shade of a colour for each of some objects, from darker to lighter; for one, the colour itself.

    Args:
        colour: Red, green and blue.
        count: Number of objects.
        white: The largest value of red, green and blue.
    """
    steps = np.linspace(-DARKER, LIGHTER, count) if count > 1 else np.zeros(count)
    own = np.asarray(colour, dtype=np.float64)
    return [tuple(own + abs(step) * ((white if step > 0 else 0.0) - own)) for step in steps.tolist()]


def plot_answer(answer: Answer, image: NDArray[np.uint8], axes: Axes | None = None) -> Axes:
    """Draw the masks of an answer over its image; see ``Answer.plot``.

    Each pixel has the colour of the mask on top, and each mask its outline, so that covered masks stay visible. Several
    objects of a name have shades of its colour.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    size = image.shape[:2]
    for entry in answer.entries:
        if entry.mask is not None and entry.mask.shape != size:
            raise QueryError(
                f"image: its height and width are {size}, the mask of {entry.name!r} has {entry.mask.shape}; "
                "give the image that the answer is about"
            )
    present = [(rank, entry) for rank, entry in enumerate(answer.entries) if entry.present]
    columns = -(-len(present) // _LEGEND_ROWS)
    if axes is None:
        axes = plt.subplots(figsize=(6.4 + 2.4 * columns, 4.8), layout="constrained")[1]
        axes.set_anchor("W")
    axes.imshow(image)
    axes.set(xticks=[], yticks=[], frame_on=False)
    ranks = answer.overlap_map((size[0], size[1])).ranks()
    handles, paint = [], np.zeros((*size, 4))
    for (rank, entry), colour in zip(present, _colours(len(present)), strict=True):
        filled = entry.mask is not None and not entry.empty
        handles.append(Patch(facecolor=colour if filled else "none", edgecolor=colour, label=_label(entry, filled)))
        paint[ranks == rank] = (*colour, _OPACITY)
        for mask, shade in zip(entry.masks, shades(colour, len(entry.masks)), strict=True):
            if entry.apart:
                paint[(ranks == rank) & mask] = (*shade, _OPACITY)
            if not np.all(mask):
                axes.contour(np.asarray(mask, dtype=float), levels=[0.5], colors=[shade], linewidths=1.2)
    axes.imshow(paint)
    if handles:
        legend = axes.legend(
            handles=handles, ncols=columns, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False
        )
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name may hold dollars
    # answers in words have no entries, and captions have both
    title = answer.words if answer.words or answer.entries else answer.text
    axes.set_title(fill(title, _CHARACTERS), fontsize="medium", parse_math=False)
    axes.set_xlabel(_absent(answer), color="grey", parse_math=False)
    return axes


def _colours(count: int) -> list[tuple[float, float, float]]:
    """Return colours that follow matplotlib's palettes while these last, and the colour wheel beyond."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    if count <= 20:
        palette = colormaps["tab10" if count <= 10 else "tab20"]
        return [to_rgb(palette(place)) for place in range(count)]
    # neighbours in the list lie far apart on the wheel: steps of the golden ratio
    return [hsv_to_rgb(place * 0.618 % 1, 0.9, (0.95, 0.65)[place % 2]) for place in range(count)]


def _label(entry: AnsweredEntry, filled: bool) -> str:
    note = "" if filled else " (empty mask)"
    note += f" ({len(entry.masks)} masks)" if len(entry.masks) > 1 else ""
    return fill(f"{entry.name} {entry.score:.2f}{note}", _CHARACTERS // 2)


def _absent(answer: Answer) -> str:
    names = [entry.name for entry in answer.entries if not entry.present]
    if not names:
        return ""
    more = f", and {len(names) - _ABSENT_SHOWN} more" if len(names) > _ABSENT_SHOWN else ""
    return fill(f"absent: {', '.join(names[:_ABSENT_SHOWN])}{more}", _CHARACTERS)


def answer_html(answer: Answer) -> str:
    """Return an answer as an HTML table: decision, score, confidence, area and a picture of each mask.

    Args:
        answer: The answer.
    """
    head = "".join(f"<th>{title}</th>" for title in ("name", "", "score", "confidence", "area", "mask"))
    rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(entry))}</tr>" for entry in answer.entries)
    faults = f"<p>faults: {escape(', '.join(answer.faults))}</p>" if answer.faults else ""
    return f"<p>{escape(answer.text)}</p>" + (f"<table><tr>{head}</tr>{rows}</table>" if rows else "") + faults


def _cells(entry: AnsweredEntry) -> list[str]:
    name, score = escape(entry.name), f"{entry.score:.3f}"
    if not entry.present:
        return [f"<s>{name}</s>", "absent", score, "", "", ""]
    if entry.mask is None:
        return [name, "present", score, "", "", ""]
    levels = entry.mask.astype(np.uint8) * 255
    for mask, (grey, *_) in zip(entry.masks, shades((200,) * 3, len(entry.masks), white=255), strict=True):
        levels[mask] = round(grey) if entry.apart else 255
    stream, picture = BytesIO(), Image.fromarray(levels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    picture.save(stream, "PNG")
    shown = f'<img src="{data_uri(stream.getvalue())}" alt="mask of {name}">'
    return [
        name,
        "present" + (", empty mask" if entry.empty else f", {len(entry.masks)} masks" if len(entry.masks) > 1 else ""),
        score,
        f"{entry.confidence:.3f}",
        f"{entry.mask.mean():.1%}",
        shown,
    ]
