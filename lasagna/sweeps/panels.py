"""Panels of a picture, and intervals drawn into them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lasagna.score_name import ScoreName
from lasagna.sweeps.intervals import Interval

_LOSSES = {"loss", "ce", "bce", "dice", "lr"}


def bounds(interval: Interval, rate: bool) -> tuple[float, float]:
    """Return both ends of an interval; those of a rate stay within [0, 1], and a single run has no width."""
    width = 0.0 if math.isnan(interval.half_width) else interval.half_width
    low, high = interval.mean - width, interval.mean + width
    return (max(0.0, low), min(1.0, high)) if rate else (low, high)


def is_rate(name: ScoreName, rows: Iterable[Mapping[str, Interval]]) -> bool:
    """Tell whether a score is a share, by its means: all in [0, 1], and it is not a loss."""
    means = [interval.mean for row in rows for interval in row.values()]
    return name.quantity not in _LOSSES and all(0 <= mean <= 1 for mean in means)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, of a size in inches, that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str) -> Axes:
    """Give a panel its title and a plain look."""
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(figure: Figure, picture: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(picture, dpi=110)
