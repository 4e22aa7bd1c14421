"""A drawn scene with its exact maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lasagna.datamodules.scenes.vocabulary import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Thing:
    """One countable object, measured on its visible pixels.

    Attributes:
        name: Category, one of `THINGS`.
        colour: One of `COLOURS`, or None for sun, moon, cloud and trees.
        centre: Mean row and mean column index of the visible pixels.
        area: Number of visible pixels.
        box: Top, left, bottom, right; bottom and right are exclusive.
    """

    name: str
    colour: str | None
    centre: tuple[float, float]
    area: int
    box: tuple[int, int, int, int]

    @classmethod
    def measure(cls, name: str, colour: str | None, mask: NDArray[np.bool_]) -> Thing:
        """Measure a thing on its mask.

        Args:
            name: Category of the thing.
            colour: Its named colour, if it has one.
            mask: Visible pixels, `[size, size]`, at least one.
        """
        rows, cols = np.nonzero(mask)
        box = (int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
        return cls(name, colour, (float(rows.mean()), float(cols.mean())), len(rows), box)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and what is in it.

    Attributes:
        image: RGB, uint8 `[size, size, 3]`.
        labels: Index in `CATEGORIES` or `VOID`, uint8 `[size, size]`.
        instances: 0 for none, k for `things[k - 1]`, uint8 `[size, size]`.
        things: The things, back to front.
        light: One of "day", "dusk", "night".
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    things: tuple[Thing, ...]
    light: str

    @property
    def size(self) -> int:
        """Width and height in pixels."""
        return int(self.labels.shape[0])

    @property
    def present(self) -> tuple[str, ...]:
        """Categories with visible pixels, in the order of `CATEGORIES`."""
        counts = np.bincount(self.labels.ravel(), minlength=len(CATEGORIES))
        return tuple(name for name, n in zip(CATEGORIES, counts, strict=False) if n)

    def mask(self, indices: Iterable[int]) -> NDArray[np.bool_]:
        """Return the visible pixels of some things, `[size, size]`.

        Args:
            indices: Positions in `things`; none gives an empty mask.
        """
        chosen: NDArray[Any] = np.array([k + 1 for k in indices], dtype=np.uint8)
        return np.isin(self.instances, chosen)

    def category_mask(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return the visible pixels of some categories, `[size, size]`.

        Args:
            names: Categories, stuff or things; absent ones add nothing.
        """
        return np.isin(self.labels, [CATEGORIES.index(name) for name in names])
