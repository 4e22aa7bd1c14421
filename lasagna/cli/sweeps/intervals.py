"""Means of few runs with t-intervals, without a statistics package."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A mean with its uncertainty.

    Args:
        mean: Mean of the values.
        half_width: Half the width of the t-interval around it; NaN for a single value.
        count: Number of values.
    """

    mean: float
    half_width: float
    count: int


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Return the mean with its t-interval (Student, 1908), which assumes roughly normal values.

    Args:
        values: One value per run.
        confidence: Share of such intervals that contain the true mean, in (0, 1).

    Raises:
        ValueError: If there are no values.
    """
    if not values:
        raise ValueError("values: none given; a mean needs at least one")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Interval(mean, math.nan, 1)
    freedom = len(values) - 1
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / freedom)
    return Interval(mean, t_quantile(confidence, freedom) * spread / math.sqrt(len(values)), len(values))


def t_quantile(confidence: float, freedom: int) -> float:
    """Return t such that a t-distributed value lies in [-t, t] with a given probability.

    Args:
        confidence: The probability, in (0, 1).
        freedom: Degrees of freedom, at least 1.

    Raises:
        ValueError: If one of them is out of range.
    """
    if not 0 < confidence < 1 or freedom < 1:
        raise ValueError(f"expected confidence in (0, 1) and freedom of at least 1, got {confidence} and {freedom}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """Return the probability of [-t, t] for t = sqrt(freedom) tan(angle) (Abramowitz and Stegun 26.7.3, 26.7.4)."""
    odd = freedom % 2 == 1
    sine, cosine = math.sin(angle), math.cos(angle)
    term = cosine if odd else 1.0
    total = 0.0 if odd and freedom == 1 else term
    for power in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * ((power - 1) / power)
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
