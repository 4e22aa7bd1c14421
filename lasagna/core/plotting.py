"""Plots without a display: figures of a common look, written as PNG."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure that needs no display.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, title: str) -> Axes:
    """Set a panel's title and a plain look, and return the panel.

    Args:
        axes: The panel.
        title: Its title.
    """
    axes.set_title(title, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(figure: Figure, picture: Path) -> None:
    """Write a figure as PNG.

    Args:
        figure: The figure.
        picture: The file.
    """
    figure.savefig(picture, dpi=110)
