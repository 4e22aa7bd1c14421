"""A reliability diagram: how often names with some score are really there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lasagna.calibrating.fit import Scores, Truth, calibration_error, reliability, scaled
from lasagna.core.plotting import dress, new_figure, save

COLUMNS = 3
"""Panels beside each other."""


def draw_reliability(
    found: Mapping[str, tuple[Scores, Truth]], picture: Path, temperature: float | None = None
) -> None:
    """Draw score against share present, a panel for each data set; the more decisions, the larger a dot.

    Args:
        found: Scores and truth of each set.
        picture: Where the PNG goes.
        temperature: A temperature to show the scores under as well.
    """
    columns, rows = min(COLUMNS, len(found)), -(-len(found) // COLUMNS)
    figure = new_figure(4.2 * columns, 4 * rows)
    for rank, (name, (scores, present)) in enumerate(found.items()):
        axes = dress(figure.add_subplot(rows, columns, rank + 1), f"{name}: {len(scores)} decisions")
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="as it should be")
        for label, values in _curves(scores, temperature).items():
            means, shares, counts = reliability(values, present)
            there = counts > 0
            error = f"{label}, calibration error {calibration_error(values, present):.3f}"
            (line,) = axes.plot(means[there], shares[there], label=error)
            sizes = 10 + 60 * np.sqrt(counts[there] / counts.max())
            axes.scatter(means[there], shares[there], s=sizes, color=line.get_color(), zorder=3)
        axes.set_xlabel("presence score", fontsize=8)
        axes.set_ylabel("share that is present", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    save(figure, picture)


def _curves(scores: Scores, temperature: float | None) -> dict[str, Scores]:
    answered = {"as answered": scores}
    return (
        answered if temperature is None else answered | {f"temperature {temperature:.2f}": scaled(scores, temperature)}
    )
