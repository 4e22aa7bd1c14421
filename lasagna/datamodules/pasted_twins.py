"""Twins of photographs: an object of another image is pasted over a thing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import BoolMask, RLEMask, UnionMask
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.index import sample_at
from lasagna.datamodules.transforms.base import edit_record
from lasagna.datamodules.transforms.copy_paste import SMALLEST, IndexedShards, Pasted, pastable, paste, whole_image
from lasagna.datamodules.transforms.words import of_a_part
from lasagna.datamodules.twins import Twin
from lasagna.errors import RecordError

SHARES = (0.005, 0.5)
"""Smallest and largest share of its image that an exchanged thing and the pasted object have."""

TRIES = 16
"""Of how many random objects the one is taken whose shape is the most similar to that of the thing."""

LEAST_IOU = 0.4
"""Least IoU of the object in its new place and the thing, so that nothing has the thing's outline."""

LARGEST_FACTOR = 4.0
"""By how much an object is enlarged at most."""

MARGIN = 1.1
"""How much larger than that of the thing the sides of the object's box are."""


class PastedTwins:
    """Pastes an object of another record over the only thing of a category, so that this category is gone.

    The object is scaled to about the thing's size and put on its middle; of several random ones the most similar in
    shape is taken. Pixels of the thing that it leaves uncovered get the object's own surroundings and are ignored in
    scores. All masks stay exact, as those of ``CopyPaste`` do. The object's category is one that the record is known
    not to show. Which thing gives way to which object depends on nothing but the random generator.

    Args:
        source: The records, whose shards are on disk or cached.
    """

    way = "pasted"

    def __init__(self, source: IndexedShards) -> None:
        self.source = source

    def __call__(self, record: Record, rng: np.random.Generator) -> Twin | None:
        """Return the twin of a record; None if it shows nothing that can be exchanged.

        Args:
            record: The record.
            rng: The random generator of the record.

        Raises:
            RecordError: If the image of the record cannot be decoded.
        """
        things = list(_things(record))
        names = self._absent_names(record) if things else []
        if not names:
            return None
        name, thing = things[int(rng.integers(len(things)))]
        others = [names[place] for place in rng.integers(len(names), size=TRIES).tolist()]
        found = [one for other in others if (one := self._placed(other, record, thing, rng)) is not None]
        best = max(found, key=lambda one: one.similarity, default=None)
        if best is None or best.similarity < LEAST_IOU:
            return None
        try:
            pasted = Pasted(best.name, best.mask, best.pixels())
        except RecordError:
            return None
        return Twin(exchange(record, thing, pasted), name, best.name)

    @cached_property
    def _donors(self) -> dict[str, NDArray[np.int32]]:
        """The numbers of the records that tell objects of a category apart."""
        index = self.source.index
        rows = index.entries[(index.entries[:, 2] > 0) & (index.places[index.entries[:, 0], 1] >= 0)]
        return {index.names[rank]: rows[rows[:, 1] == rank, 0] for rank in np.unique(rows[:, 1]).tolist()}

    def _absent_names(self, record: Record) -> list[str]:
        """Return the categories that are known to be absent and of which there are objects elsewhere."""
        unknown, allowed = {*record.category_masks(), *record.unclear}, pastable(record)
        known = set(record.absent) if record.manifest.unannotated == "unknown" else set(self._donors)
        return [name for name in self._donors if name in known - unknown and allowed(name)]

    def _placed(self, name: str, record: Record, thing: BoolMask, rng: np.random.Generator) -> PlacedObject | None:
        """Return a random object of a category on a thing; None if it does not fit there or cannot be read."""
        number, place = int(rng.choice(self._donors[name])), rng.random()
        shard_set = self.source.shard_set
        try:
            donor = decode_record(sample_at(shard_set, self.source.index, number), shard_set.manifest)
            masks = donor.objects()[name].masks or ()
            mask = masks[int(place * len(masks))].decode()
        except (RecordError, KeyError):
            return None
        placed = PlacedObject(name, donor, mask, thing) if donor.key != record.key and _fits(mask) else None
        return placed if placed is not None and placed.factor <= LARGEST_FACTOR else None


def _fits(mask: BoolMask) -> bool:
    return bool(mask.sum() >= SMALLEST and SHARES[0] <= mask.mean() <= SHARES[1])


def _things(record: Record) -> Iterator[tuple[str, BoolMask]]:
    """Yield the categories of which a record shows one object and nothing else, with its pixels."""
    whole = record.category_masks()
    if record.label_map is not None and _nothing(record.manifest) is None:
        return
    for name, region in record.objects().items():
        if len(region.masks or ()) == 1 and not region.crowds and name not in record.unclear:
            mask = region.mask.decode()
            if _fits(mask) and np.array_equal(mask, whole[name].decode()):
                yield name, mask


def _nothing(manifest: Manifest) -> int | None:
    """Return a label value of pixels without a category; None if there is none."""
    return next(iter((*manifest.void, *manifest.background)), None)


class PlacedObject:
    """An object of another record on the middle of a thing, in a box of about the same area.

    Args:
        name: Category of the object.
        donor: The record that it is from.
        shape: Its pixels there, bool ``[h, w]``.
        thing: Pixels of the thing, bool ``[H, W]``.
    """

    def __init__(self, name: str, donor: Record, shape: BoolMask, thing: BoolMask) -> None:
        self.name, self.donor, self.shape, self.thing = name, donor, shape, thing
        (top, bottom, left, right), (first, last, begin, end) = _box(thing), _box(shape)
        area = (bottom - top) * (right - left) / ((last - first) * (end - begin))
        self.factor = MARGIN * float(np.sqrt(area))
        self.size = tuple(max(1, round(self.factor * side)) for side in shape.shape)
        self.rows = np.arange(thing.shape[0]) - round((top + bottom - self.factor * (first + last)) / 2)
        self.columns = np.arange(thing.shape[1]) - round((left + right - self.factor * (begin + end)) / 2)

    @cached_property
    def mask(self) -> BoolMask:
        """Its pixels on the thing's image, bool ``[H, W]``."""
        rows, columns = (
            (places >= 0) & (places < side) for places, side in zip((self.rows, self.columns), self.size, strict=True)
        )
        inside = Image.fromarray(self.shape).resize(self.size[::-1], Image.Resampling.NEAREST)
        return np.asarray(inside)[self._nearest] & np.outer(rows, columns)

    @property
    def similarity(self) -> float:
        """IoU with the thing; 0 where it is too small to be pasted."""
        if self.mask.sum() < SMALLEST:
            return 0.0
        return float((self.mask & self.thing).sum() / (self.mask | self.thing).sum())

    def pixels(self) -> NDArray[np.uint8]:
        """Return its image in this place, uint8 ``[H, W, 3]``, which goes on beyond its edges.

        Raises:
            RecordError: If it cannot be decoded.
        """
        image = Image.fromarray(whole_image(self.donor)).resize(self.size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image)[self._nearest]

    @property
    def _nearest(self) -> tuple[NDArray[np.intp], ...]:
        return np.ix_(self.rows.clip(0, self.size[0] - 1), self.columns.clip(0, self.size[1] - 1))


def _box(mask: BoolMask) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of the pixels; bottom and right are exclusive."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def exchange(record: Record, thing: BoolMask, pasted: Pasted) -> Record:
    """Return a record with an object in the place of a thing.

    Args:
        record: The record.
        thing: All pixels of the thing's category, bool ``[H, W]``.
        pasted: The object, with an image that holds for all pixels of the thing too.

    Returns:
        The record without the words about its image; pixels of the thing beside the object are ignored.
    """
    image, nothing = whole_image(record).copy(), _nothing(record.manifest) or 0
    image[thing] = pasted.image[thing]
    hidden = edit_record(
        of_a_part(record),
        lambda pixels: pixels & ~thing,
        images=[image, *record.other_images()],
        edit_labels=lambda pixels: np.where(thing, nothing, pixels),
    )
    left = RLEMask.from_array(thing & ~pasted.mask)
    ignore = left if hidden.ignore is None else UnionMask((hidden.ignore, left), shape=record.size)
    return paste(replace(hidden, ignore=ignore), [pasted])
