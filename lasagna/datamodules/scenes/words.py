"""Every word that names, phrases, riddles, questions and answers are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.forms import EXTREMES, HALVES, RELATIONS, SIZES
from lasagna.datamodules.scenes.questions import NUMBERS
from lasagna.datamodules.scenes.reasoning import RULES
from lasagna.datamodules.scenes.vocabulary import CATEGORIES, COLOURED, COLOURS, STUFF, THINGS, UNCOLOURED, plural

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.datamodules.scenes.scene import Scene, Thing

SIDES = ("left", "right")
LONG_NAMES: tuple[str, ...] = (
    *STUFF,
    *UNCOLOURED,
    *(f"{side} {colour} {name}" for name in COLOURED for colour in COLOURS for side in SIDES),
)


def long_name(thing: Thing, size: int) -> str:
    """Return the long name of a thing.

    Args:
        thing: The thing.
        size: Width of its scene.
    """
    if thing.colour is None:
        return thing.name
    return f"{SIDES[thing.centre[1] >= (size - 1) / 2]} {thing.colour} {thing.name}"


def long_labels(scene: Scene) -> dict[str, NDArray[np.bool_]]:
    """Return the mask of each long name that is present; masks do not overlap.

    Args:
        scene: The scene.
    """
    labels = {name: scene.category_mask([name]) for name in scene.present if name in STUFF}
    members: dict[str, list[int]] = {}
    for k, thing in enumerate(scene.things):
        members.setdefault(long_name(thing, scene.size), []).append(k)
    return labels | {name: scene.mask(indices) for name, indices in members.items()}


_TEXTS = (
    *CATEGORIES,
    *(plural(name) for name in THINGS),
    *(EXTREMES + SIZES + HALVES + RELATIONS),
    *RULES,
    *LONG_NAMES,
    *NUMBERS,
    "how many are there",
    "what colour is the",
    "is there a an yes no",
)

WORDS: tuple[str, ...] = tuple(sorted({word for text in _TEXTS for word in text.split()}))
