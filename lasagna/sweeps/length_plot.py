"""A picture of scores over the length of the list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from lasagna.plotting import dress, new_figure, save
from lasagna.score_name import Length, ScoreName
from lasagna.sweeps.intervals import Interval
from lasagna.sweeps.panels import bounds, is_rate

Curves = dict[str, dict[Length, Interval]]
"""Variant to length of the list to mean."""

_FIRST = "presence_recall"


def draw_by_length(table: Mapping[str, Mapping[str, Interval]], picture: Path) -> bool:
    """Draw scores over the length of the list, a line with its band of intervals for each variant.

    A row of panels is a quantity, recall first; answers decoded freely are beside those decoded in order.

    Args:
        table: Metric to variant to mean.
        picture: Where the PNG goes.

    Returns:
        Whether there was anything to draw: a quantity for lists of two lengths or more.
    """
    families = {name: curves for name, curves in group_by_length(table).items() if len(_lengths(curves)) > 1}
    rows = sorted({_row(name) for name in families}, key=_rank)
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
        _draw_curves(dress(axes, title), curves, rate=is_rate(name, curves_rows(curves)))
    save(figure, picture)
    return True


def group_by_length(table: Mapping[str, Mapping[str, Interval]]) -> dict[ScoreName, Curves]:
    """Return score without its length to variant to length to mean; counts of faults are left out."""
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
    """Return the means of curves by variant, a dictionary for each length."""
    return [
        {variant: points[length] for variant, points in curves.items() if length in points}
        for length in _lengths(curves)
    ]


def _lengths(curves: Curves) -> list[Length]:
    return sorted({length for points in curves.values() for length in points})


def _row(name: ScoreName) -> tuple[str, ...]:
    return name.stage, name.source, name.quantity, name.group


def _rank(row: tuple[str, ...]) -> tuple[bool, tuple[str, ...]]:
    return not row[2].startswith(_FIRST), row


def _draw_curves(axes: Axes, curves: Curves, rate: bool) -> None:
    lengths = _lengths(curves)
    exact = all(length.exact for length in lengths)
    # groups have no one place on a scale of lengths, so they stand side by side
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
