"""The order of several images that are shown together, and which of them the masks belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from lasagna.errors import RecordError

T = TypeVar("T")

LAST = -1
"""Position of the image that masks belong to, where nothing else is said."""


def place_of(masks_on: int, count: int, owner: str) -> int:
    """Return the position of the annotated image among all, from 0.

    Args:
        masks_on: The position, negative ones counted from the end.
        count: Number of images.
        owner: Whose images they are, for the message.

    Raises:
        RecordError: If there is no such image.
    """
    if not -count <= masks_on < count:
        raise RecordError(f"{owner}: `masks_on` is {masks_on}, expected {-count} to {count - 1} for {count} images")
    return masks_on % count


def in_order(annotated: T, others: Sequence[T], masks_on: int = LAST) -> tuple[T, ...]:
    """Return all images in the order in which they are shown.

    Args:
        annotated: The image that the masks belong to.
        others: The others, in order.
        masks_on: Position of the annotated image among all.
    """
    place = masks_on % (len(others) + 1)
    return (*others[:place], annotated, *others[place:])
