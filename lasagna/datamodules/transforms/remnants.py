"""What is too small to be judged, such as the edge of a thing that a crop leaves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from lasagna.core.masks import Mask
from lasagna.core.record import Record, Region
from lasagna.datamodules.transforms.base import RecordTransform


class IgnoreSmall(RecordTransform):
    """Teaches neither presence nor absence of things of which too few pixels are to be seen.

    A category with fewer pixels is unclear: no query asks for it. An object with fewer pixels counts as one of a crowd,
    neither for nor against an answer. Phrases, questions and captions that mean an object with fewer pixels are
    dropped. It goes behind the transforms that cut.

    Args:
        pixels: Least number of pixels.

    Raises:
        ValueError: If the number is not positive.
    """

    def __init__(self, pixels: int = 32) -> None:
        if pixels < 1:
            raise ValueError(f"IgnoreSmall: `pixels` must be at least 1, got {pixels}; or leave it out")
        self.pixels = pixels

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record without what is too small."""
        small = [name for name, mask in record.category_masks().items() if self._is_small(mask)]
        return replace(
            record,
            regions=tuple(map(self._region, record.regions)),
            unclear=tuple(dict.fromkeys((*record.unclear, *small))),
            phrases=tuple(phrase for phrase in record.phrases if not self._any_small(phrase.masks)),
            questions=tuple(question for question in record.questions if not self._any_small(question.masks or ())),
            captions=tuple(
                caption
                for caption in record.captions
                if not any(self._any_small(phrase.masks) for phrase in caption.phrases)
            ),
        )

    def _region(self, region: Region) -> Region:
        if region.masks is None or not self._any_small(region.masks):
            return region
        small = [mask for mask in region.masks if self._is_small(mask)]
        large = [mask for mask in region.masks if not any(mask is other for other in small)]
        return Region.of_objects(region.name, large, (*region.crowds, *small))

    def _any_small(self, masks: Iterable[Mask]) -> bool:
        return any(map(self._is_small, masks))

    def _is_small(self, mask: Mask) -> bool:
        return 0 < int(np.count_nonzero(mask.decode())) < self.pixels
