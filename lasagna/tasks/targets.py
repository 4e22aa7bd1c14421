"""From annotations to the entries that dialogues ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from lasagna.dialogue import Dialogue, Entry, Kind
from lasagna.masks import BoolMask, Mask, UnionMask
from lasagna.record import Record

T = TypeVar("T")


def is_there(mask: Mask, ignored: BoolMask | None) -> bool | None:
    """Say whether a mask shows something.

    Args:
        mask: The mask.
        ignored: Pixels that count nowhere, bool ``[H, W]``, or None if all count.

    Returns:
        True if a pixel of it counts, False if it has none at all, None if all that it has are ignored, so that nothing
        can be said.
    """
    pixels = mask.decode()
    if ignored is None or not pixels.any():
        return bool(pixels.any())
    return True if (pixels > ignored).any() else None


def draw(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Return some random items, or all if there are no more than ``count``, in their order."""
    places = rng.permutation(len(items))[:count]
    return [items[place] for place in sorted(places)]


def phrase_dialogue(kind: Kind, text: str, masks: Sequence[Mask], record: Record) -> Dialogue | None:
    """Ask for what a phrase fits.

    Args:
        kind: "referring" or "reasoning".
        text: The phrase.
        masks: The things it fits: none, one or many.
        record: Where it comes from.

    Returns:
        A dialogue with one entry, present with the union of the masks or absent; None if all that the phrase fits is
        ignored, so that no answer could be called right.
    """
    ignore = record.ignored()
    union = masks[0] if len(masks) == 1 else UnionMask(tuple(masks), shape=record.size)
    present = is_there(union, None if ignore is None else ignore.decode())
    if present is None:
        return None
    entry = Entry(text, present, union if present else None)
    return Dialogue(kind, (text,), (entry,), ignore=ignore)
