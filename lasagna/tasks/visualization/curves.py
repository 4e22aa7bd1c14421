"""Plot losses and scores over the steps of a run, from its CSV file."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lasagna.tasks.metrics.names import ScoreName

Series = list[tuple[float, float]]

_STAGES = ("train", "val")
_FIRST = ("loss", "ce", "bce", "dice")
_NOT_DRAWN = re.compile(r"^(epoch|step|test/)")
_LOADER = re.compile(r"/dataloader_idx_\d+$")
_SMOOTH_FROM = 60
_COLUMNS = 3


def read_metrics(file: Path) -> dict[str, Series]:
    """Read the CSV file that ``RunLogger`` writes.

    Args:
        file: The file ``metrics.csv``.

    Returns:
        For each column its points (step, value); empty and non-finite cells are left out.

    Raises:
        ValueError: If the file has no column ``step``.
    """
    series: dict[str, Series] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        if "step" not in (rows.fieldnames or ()):
            raise ValueError(f"{file}: there is no column `step`; expected the metrics.csv of a RunLogger")
        for row in rows:
            step = _number(row.pop("step"))
            for name, cell in row.items():
                value = _number(cell)
                if step is not None and value is not None:
                    series.setdefault(name, []).append((step, value))
    return series


def draw_curves(metrics: Path, picture: Path) -> bool:
    """Draw the logged values of training and validation, a panel for each quantity with a line for each stage.

    Args:
        metrics: The file ``metrics.csv``.
        picture: The PNG file to write.

    Returns:
        Whether there are any values.
    """
    panels = group_by_quantity(read_metrics(metrics))
    if not panels:
        return False
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (quantity, lines) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, place + 1), quantity, lines)
    figure.savefig(picture, dpi=110)
    return True


def group_by_quantity(series: dict[str, Series]) -> dict[str, dict[str, Series]]:
    """Group columns such as ``train/loss`` and ``val/loss`` by quantity, losses first.

    Args:
        series: The points of each column.

    Returns:
        For each quantity its lines by stage, or by column if there is no stage.
    """
    panels: dict[str, dict[str, Series]] = {}
    for name in sorted(series):
        if _NOT_DRAWN.search(name) or ScoreName.parse(name).is_length_group:
            continue
        stage, _, quantity = name.partition("/")
        if stage not in _STAGES:
            stage, quantity = "", name
        panels.setdefault(_plain(quantity), {})[stage or _plain(name)] = series[name]
    last_parts = {quantity: quantity.rsplit("/", 1)[-1] for quantity in panels}
    ranks = {name: _FIRST.index(last) if last in _FIRST else len(_FIRST) for name, last in last_parts.items()}
    return dict(sorted(panels.items(), key=lambda panel: (ranks[panel[0]], panel[0])))


def _plain(quantity: str) -> str:
    return _LOADER.sub("", quantity).removesuffix("_epoch").removesuffix("_step")


def _number(cell: str | None) -> float | None:
    try:
        value = float(cell or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _draw_panel(axes: Axes, quantity: str, lines: dict[str, Series]) -> None:
    for rank, (label, points) in enumerate(lines.items()):
        steps, values = zip(*points, strict=True)
        colour = f"C{rank}"
        if len(values) < _SMOOTH_FROM:
            axes.plot(steps, values, color=colour, label=label, marker="o" if len(values) < 30 else "", markersize=3)
        else:
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(steps, _running_mean(values, len(values) // _SMOOTH_FROM), color=colour, label=label)
    stage = next(iter(lines)) if len(lines) == 1 else ""
    axes.set_title(f"{stage}/{quantity}" if stage in _STAGES else quantity, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))
    axes.set_xlabel("step", fontsize=9)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def _running_mean(values: Sequence[float], width: int) -> NDArray[np.float64]:
    """Return the mean over ``width`` points on either side, and fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    low, high = np.maximum(places - width, 0), np.minimum(places + width + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))
