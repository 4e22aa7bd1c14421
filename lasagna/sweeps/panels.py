"""Intervals drawn into the panels of a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

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
