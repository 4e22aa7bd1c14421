"""What tasks share: choosing annotations at random, and turning them into entries of dialogues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import count
from typing import TypeVar

import numpy as np

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import BoolMask, LabelMask, Mask, UnionMask
from lasagna.core.prompt_format import normalise
from lasagna.core.query_kind import kind_of
from lasagna.core.record import Record, Region

T = TypeVar("T")


def is_visible(mask: Mask, ignored: BoolMask | None) -> bool:
    """Return whether a mask has a pixel that is not ignored.

    If it has none, its name is not absent: it was annotated, and may be in the image without a usable mask.

    Args:
        mask: The mask.
        ignored: Ignored pixels, bool ``[H, W]``, or None for none.
    """
    pixels = mask.decode()
    return bool((pixels if ignored is None else pixels > ignored).any())


def are_visible(masks: Mapping[str, Mask], ignore: Mask | None) -> dict[str, bool]:
    """Return which masks have a pixel that is not ignored; those of a label map are not decoded for it.

    Args:
        masks: The masks by name.
        ignore: Ignored pixels, or None for none.
    """
    decoded = cache(lambda: None if ignore is None else ignore.decode())
    void = ignore.values if isinstance(ignore, LabelMask) else ()
    visible = {}
    for name, mask in masks.items():
        if isinstance(mask, LabelMask) and (ignore is None or _share_label_map(mask, ignore)):
            visible[name] = any(value in mask.label_map.values and value not in void for value in mask.values)
        else:
            visible[name] = is_visible(mask, decoded())
    return visible


def visible_objects(region: Region, ignore: Mask | None) -> tuple[Mask, ...]:
    """Return the objects of a region that have a pixel which is not ignored, in their order.

    Args:
        region: The region.
        ignore: Ignored pixels, or None for none.
    """
    objects = dict(zip(map(str, count()), region.masks or (), strict=False))
    visible = are_visible(objects, ignore)
    return tuple(mask for rank, mask in objects.items() if visible[rank])


def _share_label_map(mask: LabelMask, other: Mask) -> bool:
    return isinstance(other, LabelMask) and other.label_map is mask.label_map


def askable_names(record: Record, present: Iterable[str]) -> list[str]:
    """Return the names that are known to be present or absent: those of the manifest in its order, then all others.

    Absent are names that are not annotated or, if the manifest leaves these unknown, those that the record lists.

    Args:
        record: The record.
        present: The present names.
    """
    manifest = record.manifest
    categories = _by_form(manifest.categories)
    known = {} if manifest.unannotated == "unknown" else categories.copy()
    known |= {normalise(name): name for name in (*record.absent, *present)}
    order = [known.pop(form) for form in categories if form in known]
    return order + list(known.values())


@lru_cache(maxsize=64)  # every record of a data set has the same categories
def _by_form(names: tuple[str, ...]) -> dict[str, str]:
    return {normalise(name): name for name in names}


def choose(items: Sequence[T], count: int | None, rng: np.random.Generator) -> list[T]:
    """Return at most ``count`` random items, in their order; with None, all of them."""
    places = rng.permutation(len(items))[:count]
    return [items[place] for place in sorted(places)]


def phrase_dialogue(
    kind: str,
    text: str,
    masks: Sequence[Mask],
    record: Record,
    *,
    group: str = "",
    annotators: tuple[tuple[Mask, ...], ...] = (),
) -> Dialogue | None:
    """Return the dialogue that asks for a phrase.

    Args:
        kind: A kind of one phrase with masks, or its name: "referring", "reasoning", "reasoning_with_explanation".
        text: The phrase.
        masks: The masks of the things that the phrase fits: none, one or many.
        record: The record.
        group: What the phrase is about, for scores that take the phrases about one thing together.
        annotators: The masks of further annotators, for scores.

    Returns:
        A dialogue with one entry: present with the union of the masks or, without masks, absent. None if all pixels of
        the masks are ignored, so that no answer could be called right.
    """
    ignore = record.ignored()
    union = masks[0] if len(masks) == 1 else UnionMask(tuple(masks), shape=record.size)
    if masks and not is_visible(union, None if ignore is None else ignore.decode()):
        return None
    apart = tuple(masks) if len(masks) > 1 else ()
    entry = Entry(text, bool(masks), union if masks else None, apart, annotators=annotators)
    return Dialogue(kind_of(kind), (text,), (entry,), ignore=ignore, group=group)
