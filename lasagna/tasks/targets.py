"""From annotations to the entries that dialogues ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeGuard, TypeVar

import numpy as np

from lasagna.dialogue import Dialogue, Entry, Kind
from lasagna.masks import BoolMask, LabelMask, Mask, UnionMask
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


def are_there(masks: Mapping[str, Mask], ignore: Mask | None) -> dict[str, bool | None]:
    """Say which masks show something, as ``is_there`` does; of those of a label map without looking at pixels.

    Args:
        masks: The masks by name.
        ignore: Pixels that count nowhere, or None if all count.
    """
    decoded = cache(lambda: None if ignore is None else ignore.decode())
    return {
        name: _occurs(mask, ignore) if _told_by_values(mask, ignore) else is_there(mask, decoded())
        for name, mask in masks.items()
    }


def _told_by_values(mask: Mask, ignore: Mask | None) -> TypeGuard[LabelMask]:
    if not isinstance(mask, LabelMask):
        return False
    return ignore is None or (isinstance(ignore, LabelMask) and ignore.label_map is mask.label_map)


def _occurs(mask: LabelMask, ignore: Mask | None) -> bool | None:
    values = [value for value in mask.values if value in mask.label_map.values]
    void = ignore.values if isinstance(ignore, LabelMask) else ()
    return any(value not in void for value in values) or (None if values else False)


def draw(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Return some random items, or all if there are no more than ``count``, in their order."""
    places = rng.permutation(len(items))[:count]
    return [items[place] for place in sorted(places)]


def phrase_dialogue(kind: Kind, text: str, masks: Sequence[Mask], record: Record) -> Dialogue | None:
    """Ask for what a phrase fits.

    Args:
        kind: "referring", "reasoning" or "explained".
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
