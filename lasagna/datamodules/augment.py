"""Random changes to records for training: crops, flips and colours.

A crop also serves evaluation: it makes categories truly absent that are in every picture of a data set.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.masks import Mask
from lasagna.core.record import Phrase, Record
from lasagna.datamodules.record_edit import edit_record, encode_image
from lasagna.datamodules.transforms import RecordTransform

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
        return edit_record(replace(record, phrases=phrases, questions=(), talk=()), lambda pixels: pixels[box])

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
        talk_has_sides = any(SIDES.search(f"{turn.question} {turn.answer}") for turn in record.talk)
        sideless = replace(
            record,
            phrases=tuple(phrase for phrase in record.phrases if not SIDES.search(phrase.text)),
            questions=tuple(item for item in record.questions if not SIDES.search(f"{item.text} {item.answer}")),
            talk=() if talk_has_sides else record.talk,
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
