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
from lasagna.datamodules.transforms.copy_paste import SMALLEST, IndexedShards, Pasted, pastable, paste
from lasagna.datamodules.transforms.words import of_a_part
from lasagna.datamodules.twins import Twin
from lasagna.errors import RecordError

SHARES = (0.005, 0.5)
"""Smallest and largest share of its image that an exchanged thing and the pasted object have."""

TRIES = 8
"""How many objects are tried for a record; one that does not fit its place gives way to another."""

LARGEST_FACTOR = 4.0
"""By how much an object is enlarged at most."""


class PastedTwins:
    """Pastes an object of another record over the only thing of a category, so that this category is gone.

    The object is scaled to a box of the thing's area and put on its middle. Pixels of the thing that it leaves
    uncovered get the object's own surroundings and are ignored in scores. All masks stay exact, as those of
    ``CopyPaste`` do. The object's category is one that the record is known not to show. Which thing gives way to which
    object depends on nothing but the random generator.

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
        for _ in range(TRIES if names else 0):
            name, thing = things[int(rng.integers(len(things)))]
            other = names[int(rng.integers(len(names)))]
            found = self._object(other, record, rng)
            pasted = None if found is None else placed(other, *found, thing)
            if pasted is not None:
                return Twin(exchange(record, thing, pasted), name, other)
        return None

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

    def _object(self, name: str, record: Record, rng: np.random.Generator) -> tuple[BoolMask, NDArray[np.uint8]] | None:
        """Return the mask and the image of a random object of a category; None if it is too small or unreadable."""
        number = int(rng.choice(self._donors[name]))
        place = rng.random()
        shard_set = self.source.shard_set
        try:
            donor = decode_record(sample_at(shard_set, self.source.index, number), shard_set.manifest)
            masks = donor.objects()[name].masks or ()
            mask = masks[int(place * len(masks))].decode()
            return (mask, donor.image()) if donor.key != record.key and _fits(mask) else None
        except (RecordError, KeyError):
            return None


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


def placed(name: str, mask: BoolMask, image: NDArray[np.uint8], thing: BoolMask) -> Pasted | None:
    """Return an object on the middle of a thing, in a box of the same area.

    Args:
        name: Category of the object.
        mask: Its pixels in its own image, bool ``[h, w]``.
        image: Its own image, uint8 ``[h, w, 3]``.
        thing: Pixels of the thing, bool ``[H, W]``.

    Returns:
        The object with its surroundings, which reach as far as the thing and continue the edge of its image; None if it
        would have to be enlarged too much, or too little of it would be in the image.
    """
    (top, bottom, left, right), (first, last, begin, end) = _box(thing), _box(mask)
    factor = float(np.sqrt((bottom - top) * (right - left) / ((last - first) * (end - begin))))
    if factor > LARGEST_FACTOR:
        return None
    height, width = (max(1, round(factor * side)) for side in mask.shape)
    pixels = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    inside = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    rows = np.arange(thing.shape[0]) - round((top + bottom - factor * (first + last)) / 2)
    columns = np.arange(thing.shape[1]) - round((left + right - factor * (begin + end)) / 2)
    nearest = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
    within = np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    shown = inside[nearest] & within
    return Pasted(name, shown, pixels[nearest]) if shown.sum() >= max(SMALLEST, thing.sum() / 4) else None


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
    image, nothing = record.image().copy(), _nothing(record.manifest) or 0
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
