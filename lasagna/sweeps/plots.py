"""A picture of scores: a panel for each quantity, with the variants of each source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from lasagna.plotting import dress, new_figure, save
from lasagna.score_name import ScoreName
from lasagna.sweeps.intervals import Interval
from lasagna.sweeps.panels import bounds, is_rate

Table = Mapping[str, Mapping[str, Interval]]
"""Metric to variant to mean."""

Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Metric to variant to run to value."""

_COLUMNS = 3
_LINE = 0.22


def draw_scores(table: Table, picture: Path, values: Values) -> bool:
    """Draw the means with their intervals, a panel for each quantity, and the single runs as dots.

    Left out are counts of faults, scores by length within a source, and what is the same in all of several runs.

    Args:
        table: Metric to variant to mean.
        picture: Where the PNG goes.
        values: The single runs.

    Returns:
        Whether there was anything to draw.
    """
    panels = group_by_quantity({name: row for name, row in table.items() if _is_drawn(name, values)})
    if not panels:
        return False
    variants = list(dict.fromkeys(variant for names in panels.values() for name in names for variant in table[name]))
    columns = min(_COLUMNS, len(panels))
    rows = [list(panels)[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [0.9 + _LINE * (len(variants) + 1) * max(len(panels[title]) for title in row) for row in rows]
    figure = new_figure(5.2 * columns, 0.4 + sum(heights))
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for place, (title, names) in enumerate(panels.items()):
        axes = dress(figure.add_subplot(grid[place // columns, place % columns]), title)
        _draw_panel(axes, names, variants, table, values)
    if len(variants) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    save(figure, picture)
    return True


def group_by_quantity(table: Table) -> dict[str, dict[str, str]]:
    """Return quantity to metric to the label of its row: its source, decoding and group."""
    panels: dict[str, dict[str, str]] = {}
    for text in table:
        name = ScoreName.parse(text)
        label = " ".join(part for part in (name.source, name.group, "free" if name.free else "") if part)
        title = "/".join(part for part in (name.stage, name.quantity) if part)
        panels.setdefault(title, {})[text] = label
    return panels


def _is_drawn(text: str, values: Values) -> bool:
    name = ScoreName.parse(text)
    seen = [value for runs in values[text].values() for value in runs.values()]
    constant = len(seen) > 1 and math.isclose(min(seen), max(seen), abs_tol=1e-12)
    return not (name.is_fault or name.is_length_group or constant)


def _draw_panel(axes: Axes, names: Mapping[str, str], variants: list[str], table: Table, values: Values) -> None:
    lines = len(variants) + 1
    for row, name in enumerate(names):
        rate = is_rate(ScoreName.parse(name), [table[name]])
        for variant, interval in table[name].items():
            rank = variants.index(variant)
            _draw_variant(axes, row * lines + rank, rank, variant, interval, list(values[name][variant].values()), rate)
    middles = [row * lines + (len(variants) - 1) / 2 for row in range(len(names))]
    axes.set_yticks(middles, list(names.values()))
    axes.set_ylim(len(names) * lines - 1.3, -0.7)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.locator_params(axis="x", nbins=5)


def _draw_variant(
    axes: Axes, height: float, rank: int, variant: str, interval: Interval, dots: list[float], rate: bool
) -> None:
    colour = f"C{rank % 10}"
    low, high = bounds(interval, rate)
    axes.plot([low, high], [height, height], "-", color=colour, alpha=0.45, linewidth=5, solid_capstyle="butt")
    axes.plot(interval.mean, height, "D", color=colour, markersize=6, label=variant)
    if len(dots) > 1:
        axes.plot(dots, [height] * len(dots), "o", color="white", markeredgecolor="black", markersize=4)
