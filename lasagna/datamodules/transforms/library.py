"""Transforms of other libraries, applied to the images and all masks of a record at once, and tried out beforehand."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from lasagna.core.record import Record
from lasagna.datamodules.transforms.base import RecordTransform, encode_image, images_of_one_size
from lasagna.datamodules.transforms.pixel_map import PixelMap, move_record
from lasagna.datamodules.transforms.words import COLOURS, PhraseRule, without_words
from lasagna.errors import ConfigError, RecordError

MARK = 193
"""Value of the plane that tells what is inside, so that no usual value of padding looks like it."""

TRIES = 8
"""Number of seeds that a transform is tried with before it is used."""

REPEATS = 3
"""Number of these seeds that it is tried with once more."""

SIDES_TRIED = (96, 1024)
"""Sides in pixels of the images that a transform is tried on; the larger one only if it refuses the smaller one."""

PATCHES = 6
"""Patches in a row of such an image: large enough to be seen when it is shrunk to a few pixels."""

ALIKE = 0.2
"""Least correlation between an image and its mask after a transform, if the image shows the mask."""

COLOURFUL = 40.0
"""Least distance of a colour from its grey that counts as colourful."""

SAMPLED = 4096
"""Number of pixels whose colours are compared."""


class LibraryTransform(RecordTransform):
    """Transforms of another library, as one change to a record.

    The library moves the places of all pixels like a mask, once, and all masks follow them: label map, categories,
    objects, crowds, phrases, questions, captions and ignored pixels. All images of a record change alike. What happens
    to padding and words is said at ``move_record``; words about colours go if the colours are others afterwards.

    Args:
        phrases: Which phrases stay with a part of the image, as for ``RandomCrop``.

    Raises:
        ConfigError: If a trial shows that the transforms do not work together: they fail, change the geometry of the
            image only, give another type of image, or are not repeatable.
    """

    remedy: ClassVar[str]
    """What to do about a transform that changes the type of images."""

    def __init__(self, phrases: PhraseRule = "drop") -> None:
        if phrases not in get_args(PhraseRule):
            raise ConfigError(f"{type(self).__name__}: `phrases` must be 'drop' or 'whole', got {phrases!r}")
        self.phrases: PhraseRule = phrases
        self._try_out()

    @abstractmethod
    def change(
        self, images: Sequence[NDArray[np.uint8]], planes: NDArray[np.float32], seed: int
    ) -> tuple[list[Any], Any]:
        """Change images and a mask with the same random parameters, without any global random state.

        Args:
            images: The images, all of one size, each uint8 ``[H, W, 3]``.
            planes: A mask of three values per pixel, ``[H, W, 3]``, to be moved without mixing values.
            seed: Seed of all random parameters.

        Returns:
            The changed images, and the moved mask.
        """

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the changed record.

        Raises:
            RecordError: If the images of the record have several sizes, or the library refuses them.
        """
        images = images_of_one_size(record, self)
        try:
            changed, moved = self._moved(images, int(rng.integers(1 << 62)))
        except Exception as error:  # whatever the library raises
            raise RecordError(
                f"record {record.key}: {type(self).__name__} fails on its image of height and width {record.size} "
                f"({_line(error)}); change the transform or leave such images out"
            ) from error
        if not keeps_colours(images[0], changed[0], moved):
            record = without_words(record, COLOURS)
        if not moved.is_identity:
            return move_record(record, moved, changed, self.phrases)
        first, *others = map(encode_image, changed)
        return replace(record, image_bytes=first, others=tuple(others))

    def _moved(self, images: Sequence[NDArray[np.uint8]], seed: int) -> tuple[list[NDArray[np.uint8]], PixelMap]:
        size = images[0].shape[:2]
        planes = np.stack([*np.indices(size), np.full(size, MARK)], axis=-1).astype(np.float32)
        changed, moved = self.change(images, planes, seed)
        for image in changed:
            self._check_image(image, moved)
        inside = moved[..., 2] == MARK
        return changed, PixelMap.of_planes(np.moveaxis(moved[..., :2], -1, 0), inside, (size[0], size[1]))

    def _check_image(self, image: Any, moved: Any) -> None:  # noqa: ANN401
        found = f"{getattr(image, 'dtype', type(image).__name__)} {list(np.shape(image))}"
        if getattr(image, "dtype", None) != np.uint8 or np.ndim(image) != 3 or np.shape(image)[2] != 3:
            raise ConfigError(f"the image becomes {found}; it must stay uint8 with three channels. {self.remedy}")
        if np.shape(image)[:2] != np.shape(moved)[:2]:
            raise ConfigError(f"the image becomes {found}, its mask {list(np.shape(moved)[:2])}; both must move alike")

    def _try_out(self) -> None:
        owner = type(self).__name__
        for side in SIDES_TRIED:
            image = _pattern(side)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    tried = [self._moved([image], seed) for seed in (*range(TRIES), *range(REPEATS))]
                break
            except ConfigError as error:
                raise ConfigError(f"{owner}: {error}") from None
            except Exception as error:  # whatever the library raises
                if side == SIDES_TRIED[-1]:
                    reason = _line(error)
                    remedy = f". {self.remedy}" if "float" in reason else ""
                    raise ConfigError(
                        f"{owner}: the transforms fail on a uint8 image with a mask ({reason}); take others{remedy}"
                    ) from None
        if not all(_follows(changed[0], one.take(image[..., 0])) for changed, one in tried):
            raise ConfigError(
                f"{owner}: the image no longer shows its mask: it moves alone, so that masks would be wrong, or "
                "nothing of it is left; take transforms that move both"
            )
        if any(not np.array_equal(tried[seed][0][0], tried[TRIES + seed][0][0]) for seed in range(REPEATS)):
            raise ConfigError(
                f"{owner}: the same seed gave two results, so that runs could not be repeated; take transforms that "
                "draw only from the library's own generator"
            )


def _pattern(side: int) -> NDArray[np.uint8]:
    """Return an image of patches in two greys, which is like no mirrored or moved copy of itself."""
    patches = np.random.default_rng(0).random((PATCHES, PATCHES)) < 0.5
    patch = np.ones((side // PATCHES, side // PATCHES), dtype=bool)
    grey = np.where(np.kron(patches, patch), 190, 60).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _follows(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> bool:
    """Return whether an image still shows its mask, as far as either has a contrast."""
    shown = mask > 0
    pair = [values[shown].astype(np.float64) for values in (image.mean(-1), mask)]
    if shown.sum() < 64 or min(values.std() for values in pair) < 1:
        return True
    return abs(float(np.corrcoef(pair[0], pair[1])[0, 1])) >= ALIKE


def keeps_colours(before: NDArray[np.uint8], after: NDArray[np.uint8], moved: PixelMap) -> bool:
    """Return whether the colourful pixels of an image have about the same hue after a change.

    Args:
        before: The image before it, ``[H, W, 3]``.
        after: The image after it, ``[h, w, 3]``.
        moved: Where its pixels come from.
    """
    rows, columns = np.nonzero(moved.inside)
    step = max(1, len(rows) // SAMPLED)
    rows, columns = rows[::step], columns[::step]
    old = before[moved.rows[rows, columns], moved.columns[rows, columns]].astype(np.float64)
    new = after[rows, columns].astype(np.float64)
    old, new = old - old.mean(1, keepdims=True), new - new.mean(1, keepdims=True)
    strength = np.linalg.norm(old, axis=1)
    is_colourful = strength > COLOURFUL
    if is_colourful.sum() < 16:
        return True
    old, new, strength = old[is_colourful], new[is_colourful], strength[is_colourful]
    along = (old * new).sum(1) / strength
    return bool(np.median(along / strength) > 0.3 and np.median(along / (np.linalg.norm(new, axis=1) + 1)) > 0.7)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
