"""A drawn scene with its exact maps, the names of what it can hold, and random choices among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from numpy.typing import NDArray

STUFF: tuple[str, ...] = ("sky", "brick wall", "grass", "sand", "snow", "sea", "mountain", "road")
THINGS: tuple[str, ...] = (
    "sun",
    "moon",
    "cloud",
    "oak",
    "pine",
    "house",
    "car",
    "boat",
    "ball",
    "balloon",
    "fence",
    "flower",
    "mushroom",
    "bird",
    "kite",
    "umbrella",
)
CATEGORIES: tuple[str, ...] = STUFF + THINGS

UNCOLOURED: tuple[str, ...] = ("sun", "moon", "cloud", "oak", "pine")
COLOURED: tuple[str, ...] = tuple(name for name in THINGS if name not in UNCOLOURED)
SINGLE: tuple[str, ...] = ("sun", "moon")
"""Things of which a scene has at most one."""

COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
LIGHTS: tuple[str, ...] = ("day", "dusk", "night")
VOID = 255
"""Label of pixels that belong to no category."""

SIDES = ("left", "right")
LONG_NAMES: tuple[str, ...] = (
    *STUFF,
    *UNCOLOURED,
    *(f"{side} {colour} {name}" for name in COLOURED for colour in COLOURS for side in SIDES),
)
"""Names of stuff and things in which things with a colour are named by side, colour and category."""

T = TypeVar("T")


def pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    """Return one item, each equally likely.

    Args:
        rng: Source of the choice.
        items: At least one item.
    """
    return items[int(rng.integers(len(items)))]


def pick_fresh(rng: np.random.Generator, items: Sequence[T], taken: Container[T]) -> T:
    """Return an item that has not been picked yet, or any item if all have been.

    Args:
        rng: Source of the choice.
        items: At least one item.
        taken: The items picked before.
    """
    return pick(rng, [item for item in items if item not in taken] or items)


def plural(name: str) -> str:
    """Return the plural of a thing's name.

    Args:
        name: One of ``THINGS``; all of them form their plural with "s".
    """
    return f"{name}s"


@dataclass(frozen=True)
class Thing:
    """One countable object, measured on its visible pixels.

    Args:
        name: Category, one of ``THINGS``.
        colour: One of ``COLOURS``, or None for sun, moon, cloud and trees.
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
            mask: Visible pixels, ``[size, size]``, at least one.
        """
        rows, cols = np.nonzero(mask)
        box = (int(rows.min()), int(cols.min()), int(rows.max()) + 1, int(cols.max()) + 1)
        return cls(name, colour, (float(rows.mean()), float(cols.mean())), len(rows), box)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with its maps.

    Args:
        image: RGB, uint8 ``[size, size, 3]``.
        labels: Index in ``CATEGORIES`` or ``VOID``, uint8 ``[size, size]``.
        instances: k for ``things[k - 1]``, 0 elsewhere, uint8 ``[size, size]``.
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
        """Categories with visible pixels, in the order of ``CATEGORIES``."""
        counts = np.bincount(self.labels.ravel(), minlength=len(CATEGORIES))
        return tuple(name for name, n in zip(CATEGORIES, counts, strict=False) if n)

    def mask(self, indices: Iterable[int]) -> NDArray[np.bool_]:
        """Return the visible pixels of some things, bool ``[size, size]``.

        Args:
            indices: Positions in ``things``; without any, the mask is empty.
        """
        chosen: NDArray[Any] = np.array([k + 1 for k in indices], dtype=np.uint8)
        return np.isin(self.instances, chosen)

    def category_mask(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Return the visible pixels of some categories, bool ``[size, size]``.

        Args:
            names: Categories of stuff or things; absent ones add nothing.
        """
        return np.isin(self.labels, [CATEGORIES.index(name) for name in names])


def long_labels(scene: Scene) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of each long name that is present, bool ``[size, size]``; masks do not overlap.

    Args:
        scene: The scene.
    """
    labels = {name: scene.category_mask([name]) for name in scene.present if name in STUFF}
    return labels | {name: scene.mask(indices) for name, indices in members(scene, long_names=True).items()}


def members(scene: Scene, long_names: bool) -> dict[str, list[int]]:
    """Return the positions in ``things`` of the things of each name.

    Args:
        scene: The scene.
        long_names: Whether things are named by side, colour and category.
    """
    found: dict[str, list[int]] = {}
    for k, thing in enumerate(scene.things):
        side = SIDES[thing.centre[1] >= (scene.size - 1) / 2]
        short = not long_names or thing.colour is None
        found.setdefault(thing.name if short else f"{side} {thing.colour} {thing.name}", []).append(k)
    return found
