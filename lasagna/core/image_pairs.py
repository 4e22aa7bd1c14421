"""Pairs of an image and its twin, in which one thing was exchanged: what is asked about them belongs together."""

from __future__ import annotations

from typing import Literal, get_args

Side = Literal["factual", "counterfactual"]
"""The image as it was, or its twin."""


def pair_group(pair: str, side: Side) -> str:
    """Return the ``group`` of the phrases or questions about one image of a pair.

    Args:
        pair: Name of the pair, unique in the data set.
        side: Which of its images.
    """
    return f"{pair}/{side}"


def pair_of(group: str) -> tuple[str, Side] | None:
    """Return the name of the pair and which of its images a group means; None if it means no pair.

    Args:
        group: The ``group`` of a phrase or question.
    """
    pair, _, end = group.rpartition("/")
    return next(((pair, side) for side in get_args(Side) if pair and side == end), None)
