"""Crops, flips and changes of scale, which move the pixels of images and masks alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.record import Record
from lasagna.datamodules.transforms.base import RecordTransform, check_probability, edit_record, images_of_one_size
from lasagna.datamodules.transforms.pixel_map import PixelMap, move_record
from lasagna.datamodules.transforms.words import PhraseRule, of_a_part, whole_phrases, without_sides

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
        phrases: PhraseRule = "drop",
    ) -> None:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"RandomCrop: `scale` must be two ascending numbers in (0, 1], got {scale}")
        if not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f"RandomCrop: `aspect` must be two ascending positive ratios, got {aspect}")
        check_probability("RandomCrop", probability)
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
        images_of_one_size(record, self)
        seen = np.zeros(record.size, dtype=bool)
        seen[box] = True
        kept = of_a_part(record, whole_phrases(record.phrases, seen) if self.phrases == "whole" else ())
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
    still hold. Categories that do, such as "left arm", are unclear: no query asks for them.

    Args:
        probability: Probability of mirroring.

    Raises:
        ValueError: If the probability is not in [0, 1].
    """

    def __init__(self, probability: float = 0.5) -> None:
        check_probability("HorizontalFlip", probability)
        self.probability = probability

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the mirrored record, or the unchanged one."""
        if rng.random() >= self.probability:
            return record
        return edit_record(without_sides(record), lambda pixels: pixels[:, ::-1])


class LargeScaleJitter(RecordTransform):
    """Shows all things larger or smaller: a random part of the image, or all of it at a random place in padding.

    It is the large-scale jitter of Ghiasi et al. (Simple Copy-Paste, arXiv 2012.07177). Images are sampled smoothly,
    masks by the nearest pixel. Padding counts in no loss and no score; words are kept as by ``RandomCrop``, all of them
    where at most a twentieth of the image is cut off. A category that becomes too small to be drawn is unclear.

    Args:
        scale: Smallest and largest factor; the logarithm of factors is uniform.
        size: Height and width of the result, into which the image fits at factor 1; None for the image's own.
        fill: Colour of the padding: red, green and blue.
        phrases: Which phrases stay with a part of the image, as for ``RandomCrop``.

    Raises:
        ValueError: If a range is empty or out of bounds.
    """

    def __init__(
        self,
        scale: tuple[float, float] = (0.1, 2.0),
        size: tuple[int, int] | None = None,
        fill: tuple[int, int, int] = (124, 116, 104),
        phrases: PhraseRule = "drop",
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"LargeScaleJitter: `scale` must be two ascending positive factors, got {scale}")
        if size is not None and min(size) < 1:
            raise ValueError(f"LargeScaleJitter: `size` must be a height and a width above 0, or null, got {size}")
        if not all(0 <= value <= 255 for value in fill):
            raise ValueError(f"LargeScaleJitter: `fill` must be three values from 0 to 255, got {fill}")
        self.scale = scale
        self.size = size
        self.fill = fill
        self.phrases = phrases

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record in another scale."""
        images = images_of_one_size(record, self)
        size = self.size or record.size
        factor = np.exp(rng.uniform(*np.log(self.scale))) * min(np.divide(size, record.size))
        spans = [_Span.drawn(old, new, factor, rng) for old, new in zip(record.size, size, strict=True)]
        down, across = (span.places(new) for span, new in zip(spans, size, strict=True))
        inside = (down >= 0)[:, None] & (across >= 0)[None]
        rows, columns = (np.broadcast_to(places, size).clip(0) for places in (down[:, None], across[None]))
        moved = PixelMap(rows, columns, inside, record.size)
        return move_record(record, moved, [self._drawn(image, size, *spans) for image in images], self.phrases)

    def _drawn(self, image: NDArray[np.uint8], size: tuple[int, int], down: _Span, across: _Span) -> NDArray[np.uint8]:
        canvas = Image.new("RGB", size[::-1], self.fill)
        box = (across.first, down.first, across.last, down.last)
        part = Image.fromarray(image).resize((across.length, down.length), Image.Resampling.BILINEAR, box=box)
        canvas.paste(part, (across.start, down.start))
        return np.asarray(canvas)


@dataclass(frozen=True)
class _Span:
    """Along one axis: what is shown of the image, from ``first`` to ``last``, at ``length`` pixels from ``start``."""

    first: float
    last: float
    start: int
    length: int

    @classmethod
    def drawn(cls, old: int, new: int, factor: float, rng: np.random.Generator) -> _Span:
        """Return a random span for an image of ``old`` pixels, scaled by a factor, in a canvas of ``new`` pixels."""
        scaled = max(1, round(old * factor))
        offset = int(rng.random() * (abs(scaled - new) + 1))
        if scaled <= new:
            return cls(0, old, offset, scaled)
        return cls(offset * old / scaled, (offset + new) * old / scaled, 0, new)

    def places(self, new: int) -> NDArray[np.intp]:
        """Return the place in the image of each pixel of the canvas, -1 for padding."""
        step = (self.last - self.first) / self.length
        places = np.full(new, -1, dtype=np.intp)
        # rounding must not reach beyond the image
        shown = (self.first + (np.arange(self.length) + 0.5) * step).clip(self.first, self.last - 1e-6)
        places[self.start : self.start + self.length] = shown.astype(np.intp)
        return places
