"""Temperature, threshold and calibration error of presence scores, and reliability diagrams.

Temperature scaling and the expected calibration error follow Guo et al. (ICML 2017), "On Calibration of Modern Neural
Networks". Notation: n: decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lasagna.core.plotting import new_figure, save, style_axes

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]

_EDGE = 1e-7
_GOLDEN = (5**0.5 - 1) / 2
_RANGE = (np.log(0.05), np.log(20.0))


def scaled(scores: Scores, temperature: float) -> Scores:
    """Return presence scores ``[n]`` with their logits divided by a temperature."""
    clipped = scores.clip(_EDGE, 1 - _EDGE)
    logits = np.log(clipped) - np.log1p(-clipped)
    result: Scores = 1 / (1 + np.exp(-logits / temperature))
    return result


def negative_log_likelihood(scores: Scores, present: Truth) -> float:
    """Return the mean cross entropy of scores ``[n]`` against the truth ``[n]``."""
    clipped = scores.clip(_EDGE, 1 - _EDGE)
    return float(-np.where(present, np.log(clipped), np.log1p(-clipped)).mean())


def fit_temperature(scores: Scores, present: Truth) -> float:
    """Return the temperature in [0.05, 20] with the lowest cross entropy, found by golden-section search.

    Args:
        scores: Presence scores, float ``[n]``.
        present: The truth, bool ``[n]``.
    """
    low, high = _RANGE
    for _ in range(60):
        near, far = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        losses = [negative_log_likelihood(scaled(scores, float(np.exp(place))), present) for place in (near, far)]
        low, high = (low, far) if losses[0] <= losses[1] else (near, high)
    return float(np.exp((low + high) / 2))


def is_lowest(temperature: float) -> bool:
    """Return whether a fitted temperature is the lowest of the search, as happens if all decisions are right."""
    return bool(np.log(temperature) < _RANGE[0] + 0.01)


def is_highest(temperature: float) -> bool:
    """Return whether a fitted temperature is the highest of the search, as if scores are no better than chance."""
    return bool(np.log(temperature) > _RANGE[1] - 0.01)


def f1(scores: Scores, present: Truth, threshold: float) -> float:
    """Return F1 of names called present from a threshold on; 0 if no name is present or called present."""
    called = scores >= threshold
    right = int((called & present).sum())
    return 2 * right / max(1, int(called.sum()) + int(present.sum()))


def fit_threshold(scores: Scores, present: Truth) -> float:
    """Return the threshold with the best F1: the middle of the widest gap between scores, of equal ones nearest to 0.5.

    Args:
        scores: Presence scores, float ``[n]``.
        present: The truth, bool ``[n]``.
    """
    order = np.sort(np.unique(np.concatenate([[0.0, 1.0], scores])))
    places = np.append((order[:-1] + order[1:]) / 2, 0.0)
    called, right = (len(part) - np.searchsorted(np.sort(part), places) for part in (scores, scores[present]))
    values = 2 * right / np.maximum(1, called + int(present.sum()))  # F1 at each place, as of `f1`
    best = np.flatnonzero(values >= values.max() - 1e-12)
    widths = np.append(order[1:] - order[:-1], 0.0)[best]
    widest = best[widths >= widths.max() - 1e-12]
    return float(places[widest[np.abs(places[widest] - 0.5).argmin()]])


def reliability(scores: Scores, present: Truth, bins: int = 10) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Return for each bin the mean score, the share of present names and the number of scores; NaN if it is empty."""
    place = np.minimum((scores * bins).astype(np.int64), bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = np.bincount(place, scores, bins) / counts
        shares = np.bincount(place, present.astype(np.float64), bins) / counts
    return means, shares, counts


def calibration_error(scores: Scores, present: Truth, bins: int = 10) -> float:
    """Return the expected calibration error: the mean distance of score and share of present names, over bins."""
    means, shares, counts = reliability(scores, present, bins)
    filled = counts > 0
    return float((np.abs(means - shares)[filled] * counts[filled]).sum() / max(1, counts.sum()))


COLUMNS = 3
"""Panels in a row."""


def draw_reliability(
    found: Mapping[str, tuple[Scores, Truth]], picture: Path, temperature: float | None = None
) -> None:
    """Draw reliability diagrams, a panel for each data set; dots grow with the number of decisions.

    Args:
        found: Scores and truth of each data set.
        picture: The PNG file to write.
        temperature: If given, the scores are also shown scaled by it.
    """
    columns, rows = min(COLUMNS, len(found)), -(-len(found) // COLUMNS)
    figure = new_figure(4.2 * columns, 4.5 * rows)
    for rank, (name, (scores, present)) in enumerate(found.items()):
        axes = style_axes(figure.add_subplot(rows, columns, rank + 1), f"{name}: {len(scores)} decisions")
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, label="calibrated")
        curves = {"as answered": scores}
        if temperature is not None:
            curves[f"temperature {temperature:.2f}"] = scaled(scores, temperature)
        for label, values in curves.items():
            means, shares, counts = reliability(values, present)
            filled = counts > 0
            error = f"{label}, calibration error {calibration_error(values, present):.3f}"
            (line,) = axes.plot(means[filled], shares[filled], label=error)
            sizes = 10 + 60 * np.sqrt(counts[filled] / counts.max())
            axes.scatter(means[filled], shares[filled], s=sizes, color=line.get_color(), zorder=3)
        axes.set_xlabel("presence score", fontsize=8)
        axes.set_ylabel("share of present names", fontsize=8)
        # below the panel, since curves of sharp scores go anywhere
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    save(figure, picture)
