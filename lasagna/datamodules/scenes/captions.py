"""Captions of scenes: what is there from left to right, and where, with the pixels of each phrase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lasagna.datamodules.scenes.layout import AIRBORNE
from lasagna.datamodules.scenes.questions import NUMBERS
from lasagna.datamodules.scenes.scene import SINGLE, STUFF, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lasagna.datamodules.scenes.scene import Scene

GROUND = ("grass", "sand", "snow", "sea", "road")
"""Stuff that things can be on."""

REACH = 1 / 24
"""How far around a thing its place is looked for, as a share of the picture's side."""


@dataclass(frozen=True, eq=False)
class SceneCaption:
    """A description of a scene.

    Args:
        text: Lower case, without punctuation.
        phrases: Begin and end of each phrase in the text, and the masks that it means, bool ``[size, size]`` each: one
            for each thing, or one for stuff.
    """

    text: str
    phrases: tuple[tuple[tuple[int, int], tuple[NDArray[np.bool_], ...]], ...]


def caption(scene: Scene) -> SceneCaption:
    """Describe a scene: "a red boat and two birds on the sea and the sun in the sky".

    Things are named from left to right, those of one name, colour and place together. Things of one place stand
    together, with the place behind them. A scene without things is described by its stuff.

    Args:
        scene: The scene.
    """
    alike: dict[tuple[str, str | None, str | None], list[int]] = {}
    for k in sorted(range(len(scene.things)), key=lambda k: scene.things[k].centre[1]):
        thing = scene.things[k]
        alike.setdefault((thing.name, thing.colour, place_of(scene, k)), []).append(k)
    places: dict[str | None, list[tuple[str, list[NDArray[np.bool_]]]]] = {}
    for (name, colour, place), members in alike.items():
        masks = [scene.mask([k]) for k in members]
        places.setdefault(place, []).append((_noun(name, colour, len(members)), masks))
    parts: list[tuple[str, list[NDArray[np.bool_]]]] = []
    for place, things in places.items():
        parts += [(" and ", []), *_listed(things)]
        if place is not None:
            parts += [(" in the " if place == "sky" else " on the ", []), (place, [scene.category_mask([place])])]
    stuff = [(name, [scene.category_mask([name])]) for name in scene.present if name in STUFF]
    return _joined(parts[1:] if places else _listed(stuff))


def place_of(scene: Scene, thing: int) -> str | None:
    """Return the stuff that a thing is in or on: the sky, or the ground below it; None if that is neither.

    Args:
        scene: The scene.
        thing: Its position in ``Scene.things``.
    """
    one, reach = scene.things[thing], max(1, round(REACH * scene.size))
    top, left, bottom, right = one.box
    flies = one.name in AIRBORNE
    rows = slice(max(0, top - reach), bottom + reach) if flies else slice(max(0, bottom - 1), bottom + reach)
    columns = slice(max(0, left - reach), right + reach) if flies else slice(left, right)
    around = scene.labels[rows, columns]
    counts = np.bincount(around[around < len(STUFF)], minlength=len(STUFF))
    found = STUFF[int(counts.argmax())]
    return found if counts.any() and found in (("sky",) if flies else GROUND) else None


def _noun(name: str, colour: str | None, count: int) -> str:
    words = [colour, name if count == 1 else plural(name)]
    noun = " ".join(word for word in words if word)
    if name in SINGLE:
        return f"the {noun}"
    article = "an" if noun[0] in "aeiou" else "a"
    # five things are the most that a scene has, of a kind four
    return f"{article if count == 1 else NUMBERS[count]} {noun}"


def _listed(parts: Sequence[tuple[str, list[NDArray[np.bool_]]]]) -> list[tuple[str, list[NDArray[np.bool_]]]]:
    """Return the parts with "and" between them."""
    return [piece for part in parts for piece in ((" and ", []), part)][1:]


def _joined(parts: Sequence[tuple[str, list[NDArray[np.bool_]]]]) -> SceneCaption:
    text, phrases = "", []
    for words, masks in parts:
        phrases += [((len(text), len(text) + len(words)), tuple(masks))] if masks else []
        text += words
    return SceneCaption(text, tuple(phrases))
