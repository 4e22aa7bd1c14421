"""The record format: an encoded image or several, annotations, and the manifest of its data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.annotations import Caption, CaptionPhrase, Phrase, Question, Region, Turn
from lasagna.core.image_files import BROKEN_IMAGE, check_header, decode_image, image_fault
from lasagna.core.image_places import LAST, place_of
from lasagna.core.masks import LabelMap, Mask, UnionMask
from lasagna.errors import RecordError

__all__ = [
    "Caption",
    "CaptionPhrase",
    "Manifest",
    "Phrase",
    "Question",
    "Record",
    "Region",
    "Turn",
    "check_size",
]


@dataclass(frozen=True)
class Manifest:
    """Facts about all records of a data set.

    Args:
        name: Name of the data set.
        categories: Names that can be asked for, unique.
        labels: Value in the label maps to category name.
        void: Values in the label maps that count in no loss and no score.
        unannotated: Whether a category that is not annotated on an image is absent from it, or may be there unseen.
        origin: Source of the data.
        licence: Terms of use.
        aliases: Category name to its other names in the data set.
        background: Values in the label maps of annotated pixels that belong to no category.
    """

    name: str
    categories: tuple[str, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict)
    void: tuple[int, ...] = ()
    unannotated: Literal["absent", "unknown"] = "absent"
    origin: str = ""
    licence: str = ""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    background: tuple[int, ...] = ()

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Position of each category in the list."""
        return {name: rank for rank, name in enumerate(self.categories)}

    @cached_property
    def values(self) -> frozenset[int]:
        """All values that label maps can have."""
        return frozenset((*self.labels, *self.void, *self.background))


@dataclass(frozen=True)
class Record:
    """One image with its annotations, perhaps shown together with others, as the images of a pair or a film are.

    Args:
        key: Name of the record, unique within its shards.
        image_bytes: The original image file.
        size: Height and width of the image in pixels.
        manifest: Facts about the data set.
        regions: Categories with masks of their own. Those that tell apart the objects of a category of the label map
            add no pixels to it.
        phrases: Referring expressions.
        questions: Questions with answers in words or masks.
        conversation: Turns of a plain conversation about the image.
        absent: Names that are known to be absent, where "not annotated" means unknown.
        ignore: Pixels that count in no loss and no score, or None.
        label_bytes: A label map as PNG, or None.
        unclear: Annotated names whose masks are missing or incomplete; no query asks for them.
        captions: Descriptions of the image with masks for their phrases.
        others: Further image files that are shown too, in order. They may have other sizes.
        masks_on: Position among all images of the one that ``image_bytes`` holds and all masks belong to; by default
            the last.
    """

    key: str
    image_bytes: bytes
    size: tuple[int, int]
    manifest: Manifest
    regions: tuple[Region, ...] = ()
    phrases: tuple[Phrase, ...] = ()
    questions: tuple[Question, ...] = ()
    conversation: tuple[Turn, ...] = ()
    absent: tuple[str, ...] = ()
    ignore: Mask | None = None
    label_bytes: bytes | None = None
    unclear: tuple[str, ...] = ()
    captions: tuple[Caption, ...] = ()
    others: tuple[bytes, ...] = ()
    masks_on: int = LAST

    def other_images(self) -> list[NDArray[np.uint8]]:
        """Return the pixels of the further images, each uint8 ``[H, W, 3]``.

        Raises:
            RecordError: If one cannot be decoded, or ``masks_on`` is no position among the images.
        """
        place_of(self.masks_on, len(self.others) + 1, f"record {self.key}")
        return [decode_image(data, f"{self.key}, others[{rank}]") for rank, data in enumerate(self.others)]

    def image(self) -> NDArray[np.uint8]:
        """Return the pixels, uint8 ``[H, W, 3]``.

        Raises:
            RecordError: If the image cannot be decoded.
        """
        return decode_image(self.image_bytes, self.key)

    @cached_property
    def label_map(self) -> LabelMap | None:
        """The label map, its values checked against the manifest.

        Raises:
            RecordError: If it cannot be decoded, differs in size from the image, or has a value that is not in the
                manifest.
        """
        if self.label_bytes is None:
            return None
        label_map = LabelMap(_decode_labels(self.label_bytes, self.key))
        if label_map.size != self.size:
            raise RecordError(f"record {self.key}: label map of size {label_map.size}, image of size {self.size}")
        unknown = sorted(set(label_map.values) - self.manifest.values)
        if unknown:
            raise RecordError(
                f"record {self.key}: label values {unknown} are neither labels nor void nor background in the manifest "
                f"of {self.manifest.name!r}; list them there or convert the data set again"
            )
        return label_map

    def category_masks(self) -> dict[str, Mask]:
        """Return the masks of the present categories: those of the manifest in its order, then all others."""
        parts: dict[str, list[Mask]] = {}
        for name, values in self._label_values().items():
            assert self.label_map is not None
            parts.setdefault(name, []).append(self.label_map.mask(values))
        labelled = set(parts)
        for region in self.regions:
            if region.masks is None or region.name not in labelled:
                parts.setdefault(region.name, []).append(region.mask)
        ranks = self.manifest.ranks
        names = sorted(parts, key=lambda name: ranks.get(name, len(ranks)))
        return {name: self._union(parts[name]) for name in names}

    def objects(self) -> dict[str, Region]:
        """Return the present categories whose objects are told apart, in the order of ``category_masks``.

        A category that also has pixels of objects that are not told apart, in regions without ``masks``, has these as
        crowds.
        """
        found: dict[str, list[Region]] = {}
        for region in self.regions:
            found.setdefault(region.name, []).append(region)
        apart = {name: parts for name, parts in found.items() if any(part.masks is not None for part in parts)}
        return {name: _joined(name, apart[name]) for name in self.category_masks() if name in apart}

    def ignored(self) -> Mask | None:
        """Return the pixels that count in no loss and no score, or None if all count."""
        parts = [] if self.ignore is None else [self.ignore]
        if self.label_map is not None:
            void = [value for value in self.label_map.values if value in self.manifest.void]
            parts += [self.label_map.mask(void)] if void else []
        return self._union(parts) if parts else None

    def _label_values(self) -> dict[str, list[int]]:
        values: dict[str, list[int]] = {}
        for value in self.label_map.values if self.label_map is not None else ():
            if value in self.manifest.labels:
                values.setdefault(self.manifest.labels[value], []).append(value)
        return values

    def _union(self, masks: list[Mask]) -> Mask:
        return masks[0] if len(masks) == 1 else UnionMask(tuple(masks), shape=self.size)


def _joined(name: str, regions: list[Region]) -> Region:
    masks = [mask for region in regions for mask in region.masks or ()]
    crowds = [mask for region in regions for mask in (region.crowds if region.masks is not None else (region.mask,))]
    return Region.of_objects(name, masks, crowds)


def check_size(record: Record) -> None:
    """Check that the image's header states the size of the annotations; no pixels are decoded.

    Args:
        record: The record.

    Raises:
        RecordError: If the sizes differ, or the header cannot be read.
    """
    try:
        with Image.open(BytesIO(record.image_bytes)) as image:
            check_header(image, record.key, record.size)
    except RecordError:
        raise
    except BROKEN_IMAGE as error:
        raise RecordError(f"record {record.key}: the image cannot be decoded ({image_fault(error)})") from error


def _decode_labels(data: bytes, key: str) -> NDArray[np.integer]:
    try:
        with Image.open(BytesIO(data)) as image:
            labels = np.asarray(image)
    except BROKEN_IMAGE as error:
        raise RecordError(f"record {key}: the label map cannot be decoded ({image_fault(error)})") from error
    if labels.ndim != 2:
        raise RecordError(f"record {key}: a label map has one value per pixel, this one has shape {labels.shape}")
    return labels
