"""Objects of other records, pasted into an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.image_files import decode_image
from lasagna.core.masks import BoolMask, Mask, RLEMask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.index import ShardIndex, sample_at
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.transforms.base import RecordTransform, check_probability, edit_record
from lasagna.datamodules.transforms.words import SIDES, of_a_part
from lasagna.errors import ConfigError, RecordError

SMALLEST = 16
"""Least number of pixels of an object that is pasted."""


class IndexedShards(Protocol):
    """A source whose records can be read one by one."""

    @property
    def shard_set(self) -> ShardSet:
        """The shards."""

    @property
    def index(self) -> ShardIndex:
        """What each record holds, and where it is."""


@dataclass(frozen=True)
class Pasted:
    """An object in the place where it is pasted.

    Args:
        name: Its category.
        mask: Its pixels, bool ``[H, W]`` of the image that it is pasted into.
        image: The image with the object in it, uint8 ``[H, W, 3]``; only the object's pixels are used.
    """

    name: str
    mask: BoolMask
    image: NDArray[np.uint8]


class CopyPaste(RecordTransform):
    """Pastes objects of another record of the same source into an image (Ghiasi et al., arXiv 2012.07177).

    So things appear without their usual company, and others stand in front of them. All masks stay exact: what lies
    behind a pasted object loses these pixels, in categories, objects, crowds, label map and ignored pixels; what is
    covered completely is gone, so that its name is absent. Pasted objects are objects of their category like any
    other. Since they can make words about the image wrong, a changed record has no phrases, questions, captions and
    conversation. Which objects come from where depends on nothing but the random generator of the record.

    In a record with a label map, only categories of the label map are pasted; and no category whose objects are there
    without being told apart. Of several images, only the annotated one is changed.

    Args:
        probability: Probability of changing a record.
        objects: Smallest and largest number of objects, all from one other record; fewer if that has fewer.
        scale: Smallest and largest factor for their size, relative to the sizes of the two images.
        flip: Probability of mirroring an object; none of a category such as "left arm" is.
        place: "random" for anywhere in the image, "same" for the place that an object had in its own.
        largest: Largest share of the image that an object may cover.
        names: Categories to paste; None for all.

    Raises:
        ValueError: If a number or a range is out of bounds.
    """

    def __init__(
        self,
        probability: float = 0.5,
        objects: tuple[int, int] = (1, 3),
        scale: tuple[float, float] = (0.5, 1.5),
        flip: float = 0.5,
        place: Literal["random", "same"] = "random",
        largest: float = 0.3,
        names: Sequence[str] | None = None,
    ) -> None:
        check_probability("CopyPaste", probability)
        if not 1 <= objects[0] <= objects[1]:
            raise ValueError(f"CopyPaste: `objects` must be two ascending numbers from 1 on, got {objects}")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"CopyPaste: `scale` must be two ascending positive factors, got {scale}")
        if not 0 <= flip <= 1:
            raise ValueError(f"CopyPaste: `flip` must be in [0, 1], got {flip}")
        if place not in ("random", "same"):
            raise ValueError(f"CopyPaste: `place` must be 'random' or 'same', got {place!r}")
        if not 0 < largest <= 1:
            raise ValueError(f"CopyPaste: `largest` must be in (0, 1], got {largest}")
        self.probability = probability
        self.objects = objects
        self.scale = scale
        self.flip = flip
        self.place = place
        self.largest = largest
        self.names = None if names is None else frozenset(names)
        self._source: IndexedShards | None = None
        self._donors = np.zeros(0, dtype=np.int64)

    def for_source(self, source: IndexedShards) -> Self:
        """Return the transform with the records that objects are taken from.

        Raises:
            ConfigError: If no record tells its objects apart, a name is no category, or the records have no index.
        """
        if not hasattr(source, "index"):
            raise ConfigError(
                f"CopyPaste: {type(source).__name__} has no `index` of its records; read them from shards"
            )
        index, manifest = source.index, source.shard_set.manifest
        if self.names is not None and (unknown := sorted(self.names - set(index.names))):
            raise ConfigError(
                f"CopyPaste: `names` are no categories of {manifest.name!r}: {unknown}; correct them, or leave it out"
            )
        wanted = np.array([self.names is None or name in self.names for name in index.names], dtype=bool)
        entries = index.entries[(index.entries[:, 2] > 0) & wanted[index.entries[:, 1]]]
        bound = copy(self)
        bound._source, bound._donors = source, np.unique(entries[:, 0])
        if len(bound._donors) == 0:
            raise ConfigError(
                f"CopyPaste: no record of {manifest.name!r} tells objects {'' if self.names is None else 'of `names` '}"
                "apart; convert instances, or leave it out"
            )
        return bound

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record with pasted objects, or the unchanged one.

        Raises:
            ConfigError: If ``for_source`` was not called.
        """
        if self._source is None:
            raise ConfigError("CopyPaste: the transform knows no records to take objects from; call `for_source` first")
        if rng.random() >= self.probability:
            return record
        donor = self._donor(record, rng)
        pasted = [] if donor is None else list(self._pasted(donor, record, rng))
        return paste(record, pasted) if pasted else record

    def _donor(self, record: Record, rng: np.random.Generator) -> Record | None:
        """Return another record with objects; None if it cannot be read, which is told when it is its turn."""
        assert self._source is not None
        shard_set = self._source.shard_set
        place = int(rng.integers(len(self._donors)))
        try:
            # the record itself gives way to the next one
            for number in self._donors[[place, (place + 1) % len(self._donors)]].tolist():
                donor = decode_record(sample_at(shard_set, self._source.index, number), shard_set.manifest)
                if donor.key != record.key:
                    return donor
        except RecordError:
            return None
        return None

    def _pasted(self, donor: Record, record: Record, rng: np.random.Generator) -> Iterator[Pasted]:
        allowed = pastable(record)
        found = [
            (name, mask)
            for name, region in donor.objects().items()
            for mask in region.masks or ()
            if (self.names is None or name in self.names) and allowed(name)
        ]
        count = min(len(found), int(rng.integers(*self.objects, endpoint=True)))
        try:
            image = whole_image(donor)
        except RecordError:
            return
        for place in rng.permutation(len(found))[:count].tolist():
            name, mask = found[place]
            pasted = self.placed(name, mask.decode(), image, record.size, rng)
            if SMALLEST <= pasted.mask.sum() <= self.largest * pasted.mask.size:
                yield pasted

    def placed(
        self, name: str, mask: BoolMask, image: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator
    ) -> Pasted:
        """Return an object in a random size and place.

        Args:
            name: Its category.
            mask: Its pixels in its own image, bool ``[h, w]``.
            image: Its own image, uint8 ``[h, w, 3]``.
            size: Height and width of the image that it is pasted into.
            rng: The random generator.
        """
        factor = np.exp(rng.uniform(*np.log(self.scale))) * min(np.divide(size, mask.shape))
        is_mirrored, (down, across) = rng.random() < self.flip and not SIDES.search(name), rng.random(2)
        shown, drawn = np.zeros(size, dtype=bool), np.zeros((*size, 3), dtype=np.uint8)
        if not mask.any():
            return Pasted(name, shown, drawn)
        box = tuple(_span(mask.any(axis)) for axis in (1, 0))
        height, width = (max(1, round(factor * (span.stop - span.start))) for span in box)
        # an object larger than the image would only be cut
        height, width = min(height, size[0]), min(width, size[1])
        pixels = np.asarray(Image.fromarray(image[box]).resize((width, height), Image.Resampling.BILINEAR))
        inside = np.asarray(Image.fromarray(mask[box]).resize((width, height), Image.Resampling.NEAREST))
        if is_mirrored:
            pixels, inside = pixels[:, ::-1], inside[:, ::-1]
        if self.place == "same":
            down, across = (
                span.start / max(1, whole - (span.stop - span.start))
                for span, whole in zip(box, mask.shape, strict=True)
            )
        top, left = round(down * (size[0] - height)), round(across * (size[1] - width))
        shown[top : top + height, left : left + width] = inside
        drawn[top : top + height, left : left + width] = pixels
        return Pasted(name, shown, drawn)


def pastable(record: Record) -> Callable[[str], bool]:
    """Return a function that says whether objects of a category can be told apart in a record.

    Args:
        record: The record to paste into.
    """
    there, apart = record.category_masks(), record.objects()
    labels = None if record.label_bytes is None else set(record.manifest.labels.values())
    return lambda name: (labels is None or name in labels) and (name not in there or name in apart)


def whole_image(record: Record) -> NDArray[np.uint8]:
    """Return the pixels of a record whose masks are pasted, uint8 ``[H, W, 3]``.

    Args:
        record: The record.

    Raises:
        RecordError: If the image cannot be decoded, or has another size than the annotations.
    """
    return decode_image(record.image_bytes, record.key, size=record.size)


def paste(record: Record, objects: Sequence[Pasted]) -> Record:
    """Paste objects into a record, later ones in front of earlier ones.

    Args:
        record: The record.
        objects: The objects; each category is pastable.

    Returns:
        The record without the words about its image.
    """
    image, covered = whole_image(record).copy(), np.zeros(record.size, dtype=bool)
    top = np.full(record.size, -1)
    for rank, pasted in enumerate(objects):
        image[pasted.mask] = pasted.image[pasted.mask]
        top[pasted.mask] = rank
        covered |= pasted.mask
    values = np.array([_label_of(pasted.name, record.manifest) for pasted in objects])
    edited = edit_record(
        of_a_part(record),
        lambda pixels: pixels & ~covered,
        images=[image, *record.other_images()],
        edit_labels=lambda pixels: np.where(covered, values[top], pixels),
    )
    regions = list(edited.regions)
    for rank, pasted in enumerate(objects):
        if (mask := RLEMask.from_array(top == rank)).any():
            _add(regions, pasted.name, mask)
    names = {region.name for region in regions}
    return replace(edited, regions=tuple(regions), absent=tuple(name for name in edited.absent if name not in names))


def _add(regions: list[Region], name: str, mask: Mask) -> None:
    """Add an object to the region of its category, or a new region."""
    for place, region in enumerate(regions):
        if region.name == name and region.masks is not None:
            regions[place] = Region.of_objects(name, (*region.masks, mask), region.crowds)
            return
    regions.append(Region.of_objects(name, [mask]))


def _label_of(name: str, manifest: Manifest) -> int:
    return next((value for value, label in manifest.labels.items() if label == name), 0)


def _span(shown: Any) -> slice:  # noqa: ANN401 - an array, as NumPy's `any` returns it
    places = np.flatnonzero(shown)
    return slice(int(places[0]), int(places[-1]) + 1)
