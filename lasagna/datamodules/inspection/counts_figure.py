"""The figure of counts of an inspection; apart from its page, since only it needs matplotlib."""

from __future__ import annotations

from pathlib import Path

from matplotlib.ticker import MaxNLocator

from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.datamodules.inspection.survey import Survey

MOST = 60
"""Maximum number of categories in the figure."""


def draw_counts(survey: Survey, picture: Path) -> None:
    """Draw a figure of the most frequent categories, the number of categories per image, and the image sizes.

    Args:
        survey: The counts.
        picture: Path of the PNG.
    """
    names = survey.images.most_common(MOST)
    figure = new_figure(11, 4 + 0.17 * len(names))
    grid = figure.add_gridspec(2, 2, height_ratios=[3, max(1.0, 0.17 * len(names))])
    entries = style_axes(figure.add_subplot(grid[0, 0]), "present categories per image")
    entries.bar(list(survey.entries), list(survey.entries.values()), color="C0")
    entries.xaxis.set_major_locator(MaxNLocator(integer=True))
    sizes = style_axes(figure.add_subplot(grid[0, 1]), "width and height in pixels")
    heights, widths = zip(*survey.sizes, strict=True) if survey.sizes else ((), ())
    sizes.scatter(widths, heights, s=[8 + 2 * count**0.5 for count in survey.sizes.values()], alpha=0.5, color="C0")
    if names:
        left_out = f", the first {MOST} of {len(survey.images)}" if len(survey.images) > MOST else ""
        bars = style_axes(figure.add_subplot(grid[1, :]), f"images with each category{left_out}")
        bars.barh([name for name, _ in names][::-1], [count for _, count in names][::-1], color="C0")
        bars.tick_params(axis="y", labelsize=8)
        bars.margins(y=0.01)
    save(figure, picture)
