"""Changes to records, such as crops, before dialogues are made of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Caption, Phrase, Record, Region
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


PixelEdit = Callable[[NDArray[Any]], NDArray[Any]]
"""Moves or crops pixels: takes ``[H, W]`` or ``[H, W, 3]`` and returns the same in the new size, values unchanged."""


def edit_record(record: Record, edit: PixelEdit) -> Record:
    """Move or crop all pixels of a record together: images, label map and the masks of all annotations.

    A category that loses all its pixels is no longer annotated; if "not annotated" means unknown, it is listed as
    absent. One whose mask was empty before is listed as unclear. Phrases, questions, captions and conversation stay,
    with edited masks; the caller decides whether their words still hold.

    Args:
        record: The record.
        edit: The change to the pixels.

    Returns:
        The new record, with images and label map encoded losslessly.
    """
    image = edit(record.image())
    labels = None if record.label_map is None else encode_labels(edit(record.label_map.pixels))
    regions = [_edit_region(region, edit) for region in record.regions]
    empty = [region.name for region in record.regions if not region.mask.decode().any()]
    edited = replace(
        record,
        image_bytes=encode_image(image),
        others=tuple(encode_image(edit(other)) for other in record.other_images()),
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


SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)
"""Finds words about sides, which a mirrored image contradicts."""

GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weights of red, green and blue in the brightness (ITU-R BT.601)."""

Slices = tuple[slice, slice]


class RandomCrop(RecordTransform):
    """Crops the image and all its masks to a random rectangle; other images of the record to the same one.

    A category without a pixel in the crop is absent from it. Words about the full image may be wrong for a part of it
    (sides, counts, relations, "the biggest"), so questions, captions and conversation are removed, and so are phrases
    unless ``phrases`` is "whole". A crop of the full image leaves the record unchanged.

    Args:
        scale: Smallest and largest area of the crop, relative to the image's.
        aspect: Smallest and largest aspect ratio of the crop, relative to the image's; a crop that would exceed the
            image is stretched less and keeps its area.
        probability: Probability of cropping.
        phrases: "drop" removes all phrases. "whole" keeps those that match nothing and those whose objects all lie
            completely in the crop, which is right if phrases describe appearance only.

    Raises:
        ValueError: If a range is empty or out of bounds.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (0.25, 1.0),
        aspect: tuple[float, float] = (0.75, 1.333),
        probability: float = 1.0,
        phrases: Literal["drop", "whole"] = "drop",
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"RandomCrop: `scale` must be two ascending numbers in (0, 1], got {scale}")
        if not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f"RandomCrop: `aspect` must be two ascending positive ratios, got {aspect}")
        _check_probability("RandomCrop", probability)
        self.scale = scale
        self.aspect = aspect
        self.probability = probability
        self.phrases = phrases

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the crop, or the unchanged record."""
        crop, box = rng.random() < self.probability, self._box(record.size, rng)
        is_full = all(span.stop - span.start == side for span, side in zip(box, record.size, strict=True))
        if not crop or is_full:
            return record
        if sizes := [other.shape[:2] for other in record.other_images() if other.shape[:2] != record.size]:
            raise RecordError(
                f"record {record.key}: RandomCrop takes images of one size, got {record.size} and {sizes[0]}; resize "
                "them, or leave it out"
            )
        phrases = tuple(phrase for phrase in record.phrases if self.phrases == "whole" and _is_inside(phrase, box))
        kept = replace(record, phrases=phrases, questions=(), captions=(), conversation=())
        return edit_record(kept, lambda pixels: pixels[box])

    def _box(self, size: tuple[int, int], rng: np.random.Generator) -> Slices:
        area = rng.uniform(*self.scale)
        # outside of these bounds a side would be longer than the image's
        stretch = np.exp(rng.uniform(np.log(self.aspect[0]), np.log(self.aspect[1]))).clip(area, 1 / area)
        spans = []
        for side, share in zip(size, (np.sqrt(area / stretch), np.sqrt(area * stretch)), strict=True):
            length = min(side, max(1, round(side * share)))
            start = int(rng.random() * (side - length + 1))
            spans.append(slice(start, start + length))
        return spans[0], spans[1]


class HorizontalFlip(RecordTransform):
    """Mirrors the image and all its masks, with all other images of the record.

    A mirrored record loses the phrases, questions, captions and conversation that mention "left" or "right"; all others
    still hold.

    Args:
        probability: Probability of mirroring.

    Raises:
        ValueError: If the probability is not in [0, 1].
    """

    def __init__(self, probability: float = 0.5) -> None:
        _check_probability("HorizontalFlip", probability)
        self.probability = probability

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the mirrored record, or the unchanged one."""
        if rng.random() >= self.probability:
            return record
        has_sides = any(SIDES.search(f"{turn.question} {turn.answer}") for turn in record.conversation)
        sideless = replace(
            record,
            phrases=tuple(phrase for phrase in record.phrases if not SIDES.search(phrase.text)),
            questions=tuple(item for item in record.questions if not SIDES.search(f"{item.text} {item.answer}")),
            captions=tuple(caption for caption in record.captions if not SIDES.search(caption.text)),
            conversation=() if has_sides else record.conversation,
        )
        return edit_record(sideless, lambda pixels: pixels[:, ::-1])


class ColourJitter(RecordTransform):
    """Changes brightness, contrast and saturation slightly; hues stay, so that names of colours still hold.

    All images of a record are changed alike, each pixel as the same one of the annotated image would be.

    Args:
        brightness: Largest relative change of the brightness.
        contrast: Largest relative change of the contrast.
        saturation: Largest relative change of the saturation.

    Raises:
        ValueError: If a change is not in [0, 1].
    """

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2) -> None:
        for name, share in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not 0 <= share <= 1:
                raise ValueError(f"ColourJitter: `{name}` must be in [0, 1], got {share}")
        self.limits = np.array([brightness, contrast, saturation])

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record with changed colours."""
        brightness, contrast, saturation = (1 + self.limits * rng.uniform(-1, 1, size=3)).astype(np.float32)
        image = record.image()
        mean = (brightness * image.astype(np.float32) @ GREY).mean()

        def changed(image: NDArray[np.uint8]) -> bytes:
            pixels = _blend(brightness * image.astype(np.float32), mean, contrast)
            pixels = _blend(pixels, (pixels @ GREY)[..., None], saturation)
            return encode_image(pixels.round().clip(0, 255).astype(np.uint8))

        return replace(record, image_bytes=changed(image), others=tuple(map(changed, record.other_images())))


def _blend(
    pixels: NDArray[np.float32], other: NDArray[np.float32] | np.float32, share: np.float32
) -> NDArray[np.float32]:
    return other + share * (pixels - other)


def _check_probability(owner: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"{owner}: `probability` must be in [0, 1], got {probability}")


def _is_inside(phrase: Phrase, box: Slices) -> bool:
    """Return whether all objects of a phrase lie completely in the box, each with at least one pixel."""
    masks = [mask.decode() for drawn in (phrase.masks, *phrase.annotators) for mask in drawn]
    return all(pixels.any() and pixels[box].sum() == pixels.sum() for pixels in masks)
