"""A reliability diagram: how often names with some score are really there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lasagna.calibrating.fit import Scores, Truth, reliability, scaled
from lasagna.plotting import dress, new_figure, save


def draw_reliability(found: Mapping[str, tuple[Scores, Truth]], temperature: float, picture: Path) -> None:
    """Draw score against share present, before and after the temperature, a panel for each data set.

    Args:
        found: Scores and truth of each set.
        temperature: The temperature.
        picture: Where the PNG goes.
    """
    figure = new_figure(4.2 * len(found), 4)
    for rank, (name, (scores, present)) in enumerate(found.items()):
        axes = dress(figure.add_subplot(1, len(found), rank + 1), f"{name}: {len(scores)} decisions")
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="as it should be")
        for label, values in (("as answered", scores), (f"temperature {temperature:.2f}", scaled(scores, temperature))):
            means, shares, counts = reliability(values, present)
            there = counts > 0
            axes.plot(means[there], shares[there], "o-", markersize=4, label=label)
        axes.set_xlabel("presence score", fontsize=8)
        axes.set_ylabel("share that is present", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    save(figure, picture)
