"""Pictures of a report: scores with error bars, and scores by the length of the list."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lasagna.intervals import Interval

_BY_LENGTH = re.compile(r"(?P<family>.+)/by_length/(?P<length>\d+)(?P<rest>/.*)?")
_COLUMNS = 3


def draw_scores(
    table: Mapping[str, Mapping[str, Interval]], picture: Path, values: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> bool:
    """Draw the mean of each metric with its interval, a row for each variant, and the single runs as dots.

    Args:
        table: Metric to variant to mean.
        picture: Where the PNG goes.
        values: Metric to variant to run to value.

    Returns:
        Whether there was anything to draw.
    """
    names = [name for name in table if not _BY_LENGTH.fullmatch(name)]
    variants = list(dict.fromkeys(variant for name in names for variant in table[name]))
    figure = _figure(len(names), 1.2 + 0.35 * len(variants))
    for place, name in enumerate(names):
        axes = _panel(figure, place, len(names), name)
        for variant, interval in table[name].items():
            row = variants.index(variant)
            dots = list(values[name][variant].values())
            axes.plot(dots, [row] * len(dots), ".", color=f"C{row % 10}", alpha=0.35)
            axes.errorbar(interval.mean, row, xerr=_width(interval), fmt="o", color=f"C{row % 10}", capsize=4)
        axes.set_yticks(range(len(variants)), variants, fontsize=8)
        axes.set_ylim(len(variants) - 0.5, -0.5)
    return _save(figure, picture, drawn=bool(names))


def draw_by_length(table: Mapping[str, Mapping[str, Interval]], picture: Path) -> bool:
    """Draw scores whose names end in ``/by_length/<n>`` as curves over n with bands, a line for each variant.

    Args:
        table: Metric to variant to mean.
        picture: Where the PNG goes.

    Returns:
        Whether there was anything to draw.
    """
    families = group_by_length(table)
    figure = _figure(len(families), 3.4)
    for place, (family, curves) in enumerate(families.items()):
        axes = _panel(figure, place, len(families), family)
        for variant, points in curves.items():
            lengths = sorted(points)
            means = [points[length].mean for length in lengths]
            widths = [_width(points[length]) for length in lengths]
            axes.plot(lengths, means, marker="o", markersize=3, label=variant)
            low = [mean - width for mean, width in zip(means, widths, strict=True)]
            high = [mean + width for mean, width in zip(means, widths, strict=True)]
            axes.fill_between(lengths, low, high, alpha=0.2, linewidth=0)
        axes.set_xlabel("names in the list", fontsize=9)
        axes.legend(frameon=False, fontsize=8)
    return _save(figure, picture, drawn=bool(families))


def group_by_length(table: Mapping[str, Mapping[str, Interval]]) -> dict[str, dict[str, dict[int, Interval]]]:
    """Return metric to variant to length of the list to mean."""
    families: dict[str, dict[str, dict[int, Interval]]] = {}
    for name, row in table.items():
        match = _BY_LENGTH.fullmatch(name)
        if match is None:
            continue
        family = match["family"] + (match["rest"] or "")
        for variant, interval in row.items():
            families.setdefault(family, {}).setdefault(variant, {})[int(match["length"])] = interval
    return families


def _width(interval: Interval) -> float:
    return 0.0 if math.isnan(interval.half_width) else interval.half_width


def _figure(panels: int, height: float) -> Figure:
    columns, rows = min(_COLUMNS, max(1, panels)), max(1, math.ceil(panels / _COLUMNS))
    figure = Figure(figsize=(5.0 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _panel(figure: Figure, place: int, panels: int, title: str) -> Axes:
    axes = figure.add_subplot(math.ceil(panels / _COLUMNS), min(_COLUMNS, panels), place + 1)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _save(figure: Figure, picture: Path, drawn: bool) -> bool:
    if drawn:
        figure.savefig(picture, dpi=110)
    return drawn
