"""Plots of a sweep: scores over the length of the list, and means with intervals for each quantity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes

from lasagna.cli.sweeps.intervals import Interval
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.tasks.metrics.names import Length, ScoreName

_LOSSES = {"loss", "ce", "bce", "dice", "lr"}


def bounds(interval: Interval, rate: bool) -> tuple[float, float]:
    """Return both ends of an interval.

    Args:
        interval: The interval; that of a single run has no width.
        rate: Whether to clip the ends to [0, 1].
    """
    width = 0.0 if math.isnan(interval.half_width) else interval.half_width
    low, high = interval.mean - width, interval.mean + width
    return (max(0.0, low), min(1.0, high)) if rate else (low, high)


def is_rate(name: ScoreName, rows: Iterable[Mapping[str, Interval]]) -> bool:
    """Return whether a score is a rate: not a loss, and with all means in [0, 1].

    Args:
        name: The score.
        rows: Its means by variant.
    """
    means = [interval.mean for row in rows for interval in row.values()]
    return name.quantity not in _LOSSES and all(0 <= mean <= 1 for mean in means)


Curves = dict[str, dict[Length, Interval]]
"""Variant to length of the list to mean."""

_FIRST = "presence_recall"


def draw_by_length(table: Mapping[str, Mapping[str, Interval]], picture: Path) -> bool:
    """Draw scores over the length of the list, with a line and its interval as a band for each variant.

    Each row of panels shows a quantity, recall first. Free decoding stands beside ordered decoding.

    Args:
        table: Metric to variant to mean.
        picture: The PNG to write.

    Returns:
        Whether anything was drawn, which takes a quantity for lists of at least two lengths.
    """
    families = {name: curves for name, curves in group_by_length(table).items() if len(_lengths(curves)) > 1}
    rows = sorted({_row(name) for name in families}, key=lambda row: (not row[2].startswith(_FIRST), row))
    columns = sorted({name.free for name in families})
    figure = new_figure(5.5 * len(columns), 3.2 * len(rows)) if rows else None
    if figure is None:
        return False
    first: dict[tuple[str, ...], Axes] = {}
    for name, curves in families.items():
        row = _row(name)
        place = rows.index(row) * len(columns) + columns.index(name.free) + 1
        axes = figure.add_subplot(len(rows), len(columns), place, sharey=first.get(row))
        first.setdefault(row, axes)
        title = " ".join(part for part in (*row, "decoded freely" if name.free else "") if part)
        _draw_curves(style_axes(axes, title), curves, rate=is_rate(name, curves_rows(curves)))
    save(figure, picture)
    return True


def group_by_length(table: Mapping[str, Mapping[str, Interval]]) -> dict[ScoreName, Curves]:
    """Return each score without its length, to variant, to length, to mean.

    Args:
        table: Metric to variant to mean; counts of faults are left out.
    """
    families: dict[ScoreName, Curves] = {}
    for text, row in table.items():
        found = ScoreName.parse(text).by_length()
        if found is None or found[0].is_fault:
            continue
        name, length = found
        for variant, interval in row.items():
            families.setdefault(name, {}).setdefault(variant, {})[length] = interval
    return families


def curves_rows(curves: Curves) -> list[dict[str, Interval]]:
    """Return the means of curves by variant, one dictionary for each length.

    Args:
        curves: The curves.
    """
    return [
        {variant: points[length] for variant, points in curves.items() if length in points}
        for length in _lengths(curves)
    ]


def _lengths(curves: Curves) -> list[Length]:
    return sorted({length for points in curves.values() for length in points})


def _row(name: ScoreName) -> tuple[str, ...]:
    return name.stage, name.source, name.quantity, name.group


def _draw_curves(axes: Axes, curves: Curves, rate: bool) -> None:
    lengths = _lengths(curves)
    exact = all(length.exact for length in lengths)
    # groups of lengths have no position on a scale of lengths, so they are placed at equal distances
    places = {length: length.first if exact else rank for rank, length in enumerate(lengths)}
    for rank, (variant, points) in enumerate(curves.items()):
        known = sorted(points)
        across = [places[length] for length in known]
        ends = [bounds(points[length], rate) for length in known]
        means = [points[length].mean for length in known]
        axes.plot(across, means, marker="o", markersize=4, color=f"C{rank % 10}", label=variant)
        low, high = zip(*ends, strict=True)
        axes.fill_between(across, low, high, alpha=0.2, linewidth=0, color=f"C{rank % 10}")
    axes.set_xticks(list(places.values()), [length.label for length in lengths])
    axes.set_xlabel("names in the list", fontsize=8)
    axes.legend(frameon=False, fontsize=8)


Table = Mapping[str, Mapping[str, Interval]]
"""Metric to variant to mean."""

Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Metric to variant to run to value."""

_COLUMNS = 3
_LINE = 0.22


def draw_scores(table: Table, picture: Path, values: Values) -> bool:
    """Draw the means with their intervals, one panel for each quantity, and the runs as dots.

    Counts of faults, scores by length within a source, and scores that are equal in all runs are left out.

    Args:
        table: Metric to variant to mean.
        picture: The PNG to write.
        values: The values of the runs.

    Returns:
        Whether anything was drawn.
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
        axes = style_axes(figure.add_subplot(grid[place // columns, place % columns]), title)
        _draw_panel(axes, names, variants, table, values)
    if len(variants) > 1:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        shown = dict(zip(labels, handles, strict=True))
        figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=4, frameon=False, fontsize=9)
    save(figure, picture)
    return True


def group_by_quantity(table: Table) -> dict[str, dict[str, str]]:
    """Return quantity to metric to the label of its row: source, group and decoding.

    Args:
        table: Metric to variant to mean.
    """
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
