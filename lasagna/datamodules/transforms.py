"""Changes to whole records, such as crops, before dialogues are made of them."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Phrase, Question, Record, Region


class RecordTransform(ABC):
    """A change to a record; image, size and all masks change together."""

    @abstractmethod
    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the changed record, under its old key.

        Args:
            record: The record as it was stored, or as the transform before this one left it.
            rng: The generator that belongs to the record in this epoch.
        """


PixelEdit = Callable[[NDArray[Any]], NDArray[Any]]
"""Moves or cuts pixels: takes ``[H, W]`` or ``[H, W, 3]`` and returns the same of the new size, values untouched."""


def edit_record(record: Record, edit: PixelEdit) -> Record:
    """Move or cut the pixels of a record; image, label map, regions, phrases, questions and ignored pixels together.

    A category of which nothing is left is no longer annotated, and where "not annotated" means unknown it is noted as
    absent; one whose mask had no pixel before is noted as unclear. Phrases, questions and the talk stay, with their
    masks moved; whether their words still hold is for the caller to say.

    Args:
        record: The record.
        edit: What happens to the pixels.

    Returns:
        The new record, its image and label map encoded without loss.
    """
    image = edit(record.image())
    labels = None if record.label_map is None else encode_labels(edit(record.label_map.pixels))
    regions = [Region(region.name, edit_mask(region.mask, edit)) for region in record.regions]
    empty = [region.name for region in record.regions if not region.mask.decode().any()]
    edited = replace(
        record,
        image_bytes=encode_image(image),
        size=(image.shape[0], image.shape[1]),
        label_bytes=labels,
        regions=tuple(region for region in regions if region.mask.decode().any()),
        phrases=tuple(_edit_phrase(phrase, edit) for phrase in record.phrases),
        questions=tuple(_edit_question(question, edit) for question in record.questions),
        ignore=None if record.ignore is None else edit_mask(record.ignore, edit),
        unclear=tuple(dict.fromkeys((*record.unclear, *empty))),
    )
    if record.manifest.unannotated == "absent":
        return edited
    left = edited.category_masks()
    told = {*left, *record.absent, *edited.unclear}
    lost = [name for name in record.category_masks() if name not in told]
    return replace(edited, absent=(*record.absent, *lost))


def edit_mask(mask: Mask, edit: PixelEdit) -> RLEMask:
    """Move or cut the pixels of a mask."""
    return RLEMask.from_array(edit(mask.decode()))


def encode_image(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image ``[H, W, 3]`` as BMP, which is lossless and little more than a copy."""
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
    return replace(phrase, masks=tuple(edit_mask(mask, edit) for mask in phrase.masks))


def _edit_question(question: Question, edit: PixelEdit) -> Question:
    if question.masks is None:
        return question
    return replace(question, masks=tuple(edit_mask(mask, edit) for mask in question.masks))


SIDES = re.compile(r"\b(left|right)", re.IGNORECASE)
GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Weight of red, green and blue in brightness (ITU-R BT.601)."""

Slices = tuple[slice, slice]


class RandomCrop(RecordTransform):
    """Cuts a random rectangle out of the image and all its masks.

    A category of which no pixel is left is absent from the crop. What was said about the whole picture may be wrong for
    a part of it (sides, counts, relations, "the biggest"), so questions and the talk are left out, and phrases with
    them unless ``phrases`` says otherwise. A crop of the whole image leaves the record as it is.

    Args:
        scale: Smallest and largest area of the crop, as shares of the image's.
        aspect: Smallest and largest aspect ratio of the crop, as multiples of the image's; a crop that would reach
            beyond the image is stretched less, so that its area stays.
        probability: How often to crop at all.
        phrases: "drop" all, or keep those that fit nothing and those whose things all lie wholly in the crop ("whole"),
            which is right where phrases speak of looks alone.

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
            raise ValueError(f"RandomCrop: `scale` must be two rising shares in (0, 1], got {scale}")
        if not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f"RandomCrop: `aspect` must be two rising positive ratios, got {aspect}")
        _check_probability("RandomCrop", probability)
        self.scale = scale
        self.aspect = aspect
        self.probability = probability
        self.phrases = phrases

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the crop, or the record as it is."""
        crop, box = rng.random() < self.probability, self._box(record.size, rng)
        if not crop or _whole(box, record.size):
            return record
        phrases = tuple(phrase for phrase in record.phrases if self.phrases == "whole" and _inside(phrase, box))
        return edit_record(replace(record, phrases=phrases, questions=(), conversation=()), lambda pixels: pixels[box])

    def _box(self, size: tuple[int, int], rng: np.random.Generator) -> Slices:
        area = rng.uniform(*self.scale)
        # beyond these bounds a side would be longer than the image's
        stretch = np.exp(rng.uniform(np.log(self.aspect[0]), np.log(self.aspect[1]))).clip(area, 1 / area)
        shares = np.sqrt(area / stretch), np.sqrt(area * stretch)
        rows, columns = (_span(side, share, rng.random()) for side, share in zip(size, shares, strict=True))
        return rows, columns


class HorizontalFlip(RecordTransform):
    """Mirrors the image and all its masks.

    Phrases, questions and talks that say "left" or "right" are left out of a mirrored record; all others still hold.

    Args:
        probability: How often to mirror.

    Raises:
        ValueError: If the probability is not one.
    """

    def __init__(self, probability: float = 0.5) -> None:
        _check_probability("HorizontalFlip", probability)
        self.probability = probability

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the mirrored record, or the record as it is."""
        if rng.random() >= self.probability:
            return record
        talk_has_sides = any(SIDES.search(f"{turn.question} {turn.answer}") for turn in record.conversation)
        sideless = replace(
            record,
            phrases=tuple(phrase for phrase in record.phrases if not SIDES.search(phrase.text)),
            questions=tuple(item for item in record.questions if not SIDES.search(f"{item.text} {item.answer}")),
            conversation=() if talk_has_sides else record.conversation,
        )
        return edit_record(sideless, lambda pixels: pixels[:, ::-1])


class ColourJitter(RecordTransform):
    """Changes brightness, contrast and saturation a little; hues stay, so that names of colours still hold.

    Args:
        brightness: Largest change of the brightness, as a share of it.
        contrast: Largest change of the contrast, as a share of it.
        saturation: Largest change of the saturation, as a share of it.

    Raises:
        ValueError: If a share is not in [0, 1].
    """

    def __init__(self, brightness: float = 0.2, contrast: float = 0.2, saturation: float = 0.2) -> None:
        for name, share in (("brightness", brightness), ("contrast", contrast), ("saturation", saturation)):
            if not 0 <= share <= 1:
                raise ValueError(f"ColourJitter: `{name}` must be in [0, 1], got {share}")
        self.limits = np.array([brightness, contrast, saturation])

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record with changed colours."""
        brightness, contrast, saturation = (1 + self.limits * rng.uniform(-1, 1, size=3)).astype(np.float32)
        pixels = brightness * record.image().astype(np.float32)
        pixels = _blend(pixels, (pixels @ GREY).mean(), contrast)
        pixels = _blend(pixels, (pixels @ GREY)[..., None], saturation)
        return replace(record, image_bytes=encode_image(pixels.round().clip(0, 255).astype(np.uint8)))


def _blend(
    pixels: NDArray[np.float32], other: NDArray[np.float32] | np.float32, share: np.float32
) -> NDArray[np.float32]:
    return other + share * (pixels - other)


def _check_probability(owner: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"{owner}: `probability` must be in [0, 1], got {probability}")


def _span(side: int, share: float, place: float) -> slice:
    length = min(side, max(1, round(side * share)))
    start = int(place * (side - length + 1))
    return slice(start, start + length)


def _whole(box: Slices, size: tuple[int, int]) -> bool:
    return all(span.stop - span.start == side for span, side in zip(box, size, strict=True))


def _inside(phrase: Phrase, box: Slices) -> bool:
    return all(_uncut(mask, box) for mask in phrase.masks)


def _uncut(mask: Mask, box: Slices) -> bool:
    pixels = mask.decode()
    return bool(pixels.any() and pixels[box].sum() == pixels.sum())
