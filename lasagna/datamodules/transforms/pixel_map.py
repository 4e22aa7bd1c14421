"""Which pixel of an image each pixel of its changed form shows: one map moves all masks of a record exactly alike.

Notation: H, W: height and width before the change; h, w: after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lasagna.core.masks import BoolMask, Mask, RLEMask, UnionMask
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.transforms.base import edit_record
from lasagna.datamodules.transforms.words import (
    HEIGHTS,
    PhraseRule,
    of_a_part,
    whole_phrases,
    without_lost,
    without_sides,
    without_words,
)

CUT = 0.05
"""Share of an image that may be lost, e.g. in the corners when it is turned a little, before it counts as a part."""

LINES = 128
"""Number of rows or columns that are looked at to tell how far pixels move."""

ALONG = 0.86
"""Least correlation of places before and after, that of a turn by 30 degrees, for which left is still left."""


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Where the pixels of a changed image come from.

    Args:
        rows: Row before the change, int ``[h, w]``.
        columns: Column before the change, int ``[h, w]``.
        inside: Whether a pixel shows one of the image at all, and no padding, bool ``[h, w]``.
        size: H and W.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    inside: BoolMask
    size: tuple[int, int]

    @classmethod
    def of_planes(cls, planes: NDArray[Any], inside: BoolMask, size: tuple[int, int]) -> PixelMap:
        """Return the map of rows and columns that were moved like a mask.

        Args:
            planes: Rows and columns, ``[2, h, w]``; any values where nothing is inside.
            inside: Whether a pixel shows one of the image, ``[h, w]``.
            size: H and W.
        """
        rows, columns = np.where(inside, planes, 0).round().astype(np.intp)
        return cls(rows, columns, inside, size)

    @property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        height, width = self.size
        if self.inside.shape != self.size or not self.inside.all():
            return False
        here = np.arange(height)[:, None], np.arange(width)[None]
        return bool((self.rows == here[0]).all() and (self.columns == here[1]).all())

    @cached_property
    def _places(self) -> NDArray[np.intp]:
        """Places in the order of columns, in which decoded masks lie in memory, int ``[w, h]``."""
        return np.ascontiguousarray((self.columns * self.size[0] + self.rows).T)

    @cached_property
    def _outside(self) -> BoolMask | None:
        return None if self.inside.all() else ~self.inside

    def take(self, pixels: NDArray[Any], outside: int = 0) -> NDArray[Any]:
        """Return the changed form of a mask or label map ``[H, W]``; padding gets the value ``outside``."""
        moved: NDArray[Any] = np.ravel(pixels.T)[self._places].T
        if self._outside is not None:
            moved[self._outside] = outside
        return moved

    @cached_property
    def seen(self) -> BoolMask:
        """The pixels that are still shown, bool ``[H, W]``; in a smaller image, those between shown ones too."""
        hit = np.zeros(self.size, dtype=bool)
        hit[self.rows[self.inside], self.columns[self.inside]] = True
        reach = [2 * self._reach(places) + 1 for places in (self.rows, self.columns)]
        return np.asarray(ndimage.maximum_filter(hit, size=reach))

    def _reach(self, places: NDArray[np.intp]) -> int:
        """Return how far a pixel that is between shown ones can be from the next, in pixels along one axis."""
        steps = []
        for axis in (0, 1):
            # some rows or columns tell enough
            step = max(1, places.shape[1 - axis] // LINES)
            line = (slice(None), slice(None, None, step)) if axis == 0 else (slice(None, None, step), slice(None))
            inside, change = self.inside[line], np.abs(np.diff(places[line], axis=axis))
            both = inside[1:] & inside[:-1] if axis == 0 else inside[:, 1:] & inside[:, :-1]
            steps.append(float(np.percentile(change[both], 95)) if both.any() else 0.0)
        is_straight = min(steps) == 0 and max(steps) <= 1
        return 0 if is_straight else max(1, int(np.ceil((max(steps) - 1) / 2)))

    @property
    def keeps_sides(self) -> bool:
        """Whether what was left is left: the image was neither mirrored nor turned far."""
        return self._along(self.columns, 1)

    @property
    def keeps_heights(self) -> bool:
        """Whether what was above is above: the image was neither turned over nor turned far."""
        return self._along(self.rows, 0)

    def _along(self, before: NDArray[np.intp], axis: int) -> bool:
        step = max(1, max(before.shape) // LINES)
        inside, old = self.inside[::step, ::step], before[::step, ::step]
        new = np.indices(old.shape)[axis]
        pair = [places[inside].astype(np.float64) for places in (old, new)]
        centred = [places - places.mean() for places in pair] if inside.any() else pair
        norm = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
        return norm == 0 or float(centred[0] @ centred[1]) / norm >= ALONG


def move_record(
    record: Record, moved: PixelMap, images: Sequence[NDArray[np.uint8]], phrases: PhraseRule = "drop"
) -> Record:
    """Move all masks of a record like its images, and drop words that no longer hold.

    Padding counts in no loss and no score. A category that lost all its pixels because it became too small to be drawn,
    and not because it was cut off, is listed as unclear. Words about sides, or about above and below, go if the image
    was mirrored or turned by more than 30 degrees (see ``HorizontalFlip``). If more than a twentieth of it is lost, all
    words about it go, as for ``RandomCrop``; otherwise those about objects that lost all their pixels.

    Args:
        record: The record.
        moved: Where its pixels come from.
        images: The changed images, the annotated one first, each uint8 ``[h, w, 3]``.
        phrases: Which phrases stay with a part of the image.
    """
    record = record if moved.keeps_sides else without_sides(record)
    if record.phrases or record.questions or record.captions or record.conversation:
        record = _still_true(record, moved, phrases)
    outside = 0
    if padding := not moved.inside.all():
        manifest, outside = with_void(record.manifest)
        record = record if record.label_map is None else replace(record, manifest=manifest)
    edited = edit_record(
        record, moved.take, images=images, edit_labels=lambda pixels: moved.take(_wide(pixels, outside), outside)
    )
    edited = _with_unclear(without_lost(edited, record), record, moved)
    if not padding:
        return edited
    parts: list[Mask] = [RLEMask.from_array(~moved.inside), *([edited.ignore] if edited.ignore else [])]
    return replace(edited, ignore=RLEMask.from_array(UnionMask(tuple(parts), shape=edited.size).decode()))


def _still_true(record: Record, moved: PixelMap, phrases: PhraseRule) -> Record:
    if not moved.keeps_heights:
        record = without_words(record, HEIGHTS)
    if moved.seen.mean() < 1 - CUT:
        return of_a_part(record, whole_phrases(record.phrases, moved.seen) if phrases == "whole" else ())
    return record


def _with_unclear(edited: Record, before: Record, moved: PixelMap) -> Record:
    kept = edited.category_masks()
    lost = {name: mask for name, mask in before.category_masks().items() if name not in kept}
    small = [name for name, mask in lost.items() if (mask.decode() & moved.seen).any()]
    absent = tuple(name for name in edited.absent if name not in small)
    return replace(edited, absent=absent, unclear=tuple(dict.fromkeys((*edited.unclear, *small)))) if small else edited


def _wide(pixels: NDArray[Any], value: int) -> NDArray[Any]:
    return pixels if value <= np.iinfo(pixels.dtype).max else pixels.astype(np.uint16)


def with_void(manifest: Manifest) -> tuple[Manifest, int]:
    """Return a manifest with a value of label maps for pixels that do not count, and the value.

    Args:
        manifest: The manifest; returned as it is if it has such a value.
    """
    if manifest.void:
        return manifest, manifest.void[0]
    free = next(value for value in (255, *range(1 << 16)) if value not in manifest.values)
    return replace(manifest, void=(free,)), free
