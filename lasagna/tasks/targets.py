"""From annotations to the entries that dialogues ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TypeGuard, TypeVar

import numpy as np

from lasagna.core.dialogue import Dialogue, Entry, Kind
from lasagna.core.masks import BoolMask, LabelMask, Mask, UnionMask
from lasagna.core.record import Record

T = TypeVar("T")


def is_there(mask: Mask, ignored: BoolMask | None) -> bool:
    """Say whether a mask shows something.

    That it does not says nothing of absence: somebody annotated it, so that it may be there without a usable mask.

    Args:
        mask: The mask.
        ignored: Pixels that count nowhere, bool ``[H, W]``, or None if all count.

    Returns:
        Whether a pixel of it counts.
    """
    pixels = mask.decode()
    return bool((pixels if ignored is None else pixels > ignored).any())


def are_there(masks: Mapping[str, Mask], ignore: Mask | None) -> dict[str, bool]:
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


def _occurs(mask: LabelMask, ignore: Mask | None) -> bool:
    void = ignore.values if isinstance(ignore, LabelMask) else ()
    return any(value in mask.label_map.values and value not in void for value in mask.values)


def draw(items: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """Return some random items, or all if there are no more than ``count``, in their order."""
    places = rng.permutation(len(items))[:count]
    return [items[place] for place in sorted(places)]


def phrase_dialogue(kind: Kind, text: str, masks: Sequence[Mask], record: Record) -> Dialogue | None:
    """Ask for what a phrase fits.

    Args:
        kind: "referring", "reasoning" or "reasoning_with_explanation".
        text: The phrase.
        masks: The things it fits: none, one or many.
        record: Where it comes from.

    Returns:
        A dialogue with one entry, present with the union of the masks or, where there are no masks, absent; None if no
        pixel of what the phrase fits counts, so that no answer could be called right.
    """
    ignore = record.ignored()
    union = masks[0] if len(masks) == 1 else UnionMask(tuple(masks), shape=record.size)
    if masks and not is_there(union, None if ignore is None else ignore.decode()):
        return None
    entry = Entry(text, bool(masks), union if masks else None)
    return Dialogue(kind, (text,), (entry,), ignore=ignore)
