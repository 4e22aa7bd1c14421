"""The base of transforms, and the editing of all pixels of a record together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Caption, Manifest, Phrase, Record, Region
from lasagna.errors import RecordError


class RecordTransform(ABC):
    """A change to a record: to its image, size and masks together."""

    @abstractmethod
    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the changed record with the same key.

        Args:
            record: The record as stored, or from the previous transform.
            rng: The random generator of this record in this epoch.
        """

    def for_source(self, source: Any) -> RecordTransform:  # noqa: ANN401
        """Return the transform adapted to a source of records; most do not depend on it.

        Args:
            source: The source; one that reads shards has their ``shard_set`` and an ``index`` of its records.
        """
        return self

    def of_manifest(self, manifest: Manifest) -> Manifest:
        """Return the facts about the data set after the transform; most do not change them.

        Args:
            manifest: The facts before it.
        """
        return manifest

    def said(self, name: str) -> str:
        """Return the name of a category after the transform; most do not change it.

        Args:
            name: Its name before.
        """
        return name


PixelEdit = Callable[[NDArray[Any]], NDArray[Any]]
"""Moves or crops pixels: takes ``[H, W]`` or ``[H, W, 3]`` and returns the same in the new size, values unchanged."""


def edit_record(
    record: Record,
    edit: PixelEdit,
    *,
    images: Sequence[NDArray[np.uint8]] | None = None,
    edit_labels: PixelEdit | None = None,
) -> Record:
    """Move or crop all pixels of a record together: images, label map and the masks of all annotations.

    A category that loses all its pixels is no longer annotated; if "not annotated" means unknown, it is listed as
    absent. One whose mask was empty before is listed as unclear. Phrases, questions, captions and conversation stay,
    with edited masks; the caller decides whether their words still hold.

    Args:
        record: The record.
        edit: The change to the pixels.
        images: The images as they are afterwards, the annotated one first; None to change them by ``edit`` too.
        edit_labels: The change to the label map; None for ``edit``.

    Returns:
        The new record, with images and label map encoded losslessly.
    """
    image, *others = images or map(edit, all_images(record))
    labels = None if record.label_map is None else encode_labels((edit_labels or edit)(record.label_map.pixels))
    regions = [_edit_region(region, edit) for region in record.regions]
    empty = [region.name for region in record.regions if not region.mask.decode().any()]
    edited = replace(
        record,
        image_bytes=encode_image(image),
        others=tuple(map(encode_image, others)),
        size=(image.shape[0], image.shape[1]),
        label_bytes=labels,
        regions=tuple(region for region in regions if region is not None),
        phrases=tuple(_edit_phrase(phrase, edit) for phrase in record.phrases),
        questions=tuple(
            question if question.masks is None else replace(question, masks=_edit_masks(question.masks, edit))
            for question in record.questions
        ),
        captions=tuple(_edit_caption(caption, edit) for caption in record.captions),
        ignore=None if record.ignore is None else edit_mask(record.ignore, edit),
        unclear=tuple(dict.fromkeys((*record.unclear, *empty))),
    )
    if record.manifest.unannotated == "absent":
        return edited
    known = {*edited.category_masks(), *record.absent, *edited.unclear}
    lost = [name for name in record.category_masks() if name not in known]
    return replace(edited, absent=(*record.absent, *lost))


def all_images(record: Record) -> list[NDArray[np.uint8]]:
    """Return the images of a record, each uint8 ``[H, W, 3]``: the annotated one, then the others in order."""
    return [record.image(), *record.other_images()]


def images_of_one_size(record: Record, owner: RecordTransform) -> list[NDArray[np.uint8]]:
    """Return the images of a record, the annotated one first.

    Args:
        record: The record.
        owner: The transform, for the message.

    Raises:
        RecordError: If they have several sizes, so that one change does not fit all.
    """
    images = all_images(record)
    if sizes := [image.shape[:2] for image in images if image.shape[:2] != record.size]:
        raise RecordError(
            f"record {record.key}: {type(owner).__name__} takes images of one size, got {record.size} and {sizes[0]}; "
            "resize them, or leave it out"
        )
    return images


def _edit_region(region: Region, edit: PixelEdit) -> Region | None:
    """Return the edited region with the objects that keep a pixel, or None if none is left."""
    if region.masks is None:
        mask = edit_mask(region.mask, edit)
        return Region(region.name, mask) if mask.any() else None
    masks, crowds = ([mask for mask in _edit_masks(part, edit) if mask.any()] for part in (region.masks, region.crowds))
    return Region.of_objects(region.name, masks, crowds) if masks or crowds else None


def _edit_caption(caption: Caption, edit: PixelEdit) -> Caption:
    phrases = tuple(replace(phrase, masks=_edit_masks(phrase.masks, edit)) for phrase in caption.phrases)
    return replace(caption, phrases=phrases)


def edit_mask(mask: Mask, edit: PixelEdit) -> RLEMask:
    """Move or crop the pixels of a mask."""
    return RLEMask.from_array(edit(mask.decode()))


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image ``[H, W, 3]`` as BMP, which is lossless and about as fast as a copy."""
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "BMP")
    return buffer.getvalue()


def encode_labels(pixels: NDArray[Any]) -> bytes:
    """Encode a label map ``[H, W]`` as PNG without compression."""
    kind = np.uint8 if pixels.max(initial=0) < 256 else np.uint16
    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels, dtype=kind)).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def _edit_phrase(phrase: Phrase, edit: PixelEdit) -> Phrase:
    annotators = tuple(_edit_masks(masks, edit) for masks in phrase.annotators)
    return replace(phrase, masks=_edit_masks(phrase.masks, edit), annotators=annotators)


def _edit_masks(masks: Iterable[Mask], edit: PixelEdit) -> tuple[RLEMask, ...]:
    return tuple(edit_mask(mask, edit) for mask in masks)


def check_probability(owner: str, probability: float) -> None:
    """Check an argument ``probability``.

    Args:
        owner: Name of the class that takes it.
        probability: The value.

    Raises:
        ValueError: If it is not in [0, 1].
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"{owner}: `probability` must be in [0, 1], got {probability}")
