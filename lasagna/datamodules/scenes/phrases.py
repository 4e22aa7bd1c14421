"""Referring phrases: what they say, what they refer to in a scene, and random ones for a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.scene import COLOURED, COLOURS, SINGLE, THINGS, pick, pick_fresh, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from lasagna.datamodules.scenes.scene import Scene

EXTREMES = ("leftmost", "rightmost", "highest", "lowest")
SIZES = ("largest", "smallest")
HALVES = ("on the left", "on the right")
RELATIONS = ("left of", "right of", "above", "below")

POSITION_MARGIN = 0.08
AREA_RATIO = 1.3

ABSENT_SHARE = 1 / 4
SEVERAL_SHARE = 1 / 6
TRIES = 40
KINDS = ("name", "colour", "side", "side", "size", "relation", "relation")
KINDS_OF = {"other colour": ("colour",), "other place": ("side", "relation")}


@dataclass(frozen=True)
class Form:
    """The meaning of a phrase, apart from its wording.

    Args:
        name: Category, one of ``THINGS``.
        colour: Only things of this colour, if given.
        modifier: Empty, or one of ``EXTREMES``, ``SIZES``, ``HALVES``, ``RELATIONS``.
        reference: For a relation, the category of the only thing it relates to.
        several: Whether the phrase is in the plural.
    """

    name: str
    colour: str | None = None
    modifier: str = ""
    reference: str | None = None
    several: bool = False

    @property
    def superlative(self) -> bool:
        """Whether the form asks for the first thing in some order."""
        return self.modifier in EXTREMES + SIZES

    @property
    def kind(self) -> str:
        """Kind of the phrase: "name", "colour", "side", "size" or "relation"."""
        if self.modifier in RELATIONS:
            return "relation"
        if self.modifier:
            return "size" if self.modifier in SIZES else "side"
        return "colour" if self.colour else "name"

    @property
    def text(self) -> str:
        """The phrase in lower case, without punctuation."""
        noun = plural(self.name) if self.several else self.name
        words = ["the", self.colour or "", noun]
        words.insert(1 if self.superlative else 3, self.modifier)
        words.append(f"the {self.reference}" if self.reference else "")
        return " ".join(word for word in words if word)


def resolve(form: Form, scene: Scene) -> tuple[int, ...] | None:
    """Return the things a form refers to, or None if that is not clear.

    Positions are those of centres and must differ by ``POSITION_MARGIN`` of the size, areas by the factor
    ``AREA_RATIO``. A superlative needs at least two things, a reference must be unique, and the number must agree.

    Args:
        form: The form.
        scene: The scene that it describes.
    """
    found = [k for k, t in enumerate(scene.things) if t.name == form.name]
    found = [k for k in found if form.colour in (None, scene.things[k].colour)]
    fitting = _superlative(form, scene, found) if form.superlative else _located(form, scene, found)
    if fitting and (len(fitting) > 1) != form.several:
        return None
    return fitting


def _superlative(form: Form, scene: Scene, found: list[int]) -> tuple[int, ...] | None:
    if len(found) < 2:
        return None if found else ()
    ranks = {}
    for k in found:
        (row, col), area = scene.things[k].centre, scene.things[k].area
        places = {"leftmost": -col, "rightmost": col, "highest": -row, "lowest": row}
        ranks[k] = {**places, "largest": area, "smallest": -area}[form.modifier]
    best, second = sorted(found, key=lambda k: ranks[k], reverse=True)[:2]
    if form.modifier in SIZES:
        clear = max(ranks[best] / ranks[second], ranks[second] / ranks[best]) >= AREA_RATIO
    else:
        clear = ranks[best] - ranks[second] >= POSITION_MARGIN * scene.size
    return (best,) if clear else None


def _located(form: Form, scene: Scene, found: list[int]) -> tuple[int, ...] | None:
    if not form.modifier:
        return tuple(found)
    middle = ((scene.size - 1) / 2, (scene.size - 1) / 2)
    places = [t.centre for t in scene.things if t.name == form.reference] if form.reference else [middle]
    if len(places) != 1:
        return None
    lead = {k: _lead(scene.things[k].centre, places[0], form.modifier) for k in found}
    if any(abs(amount) < POSITION_MARGIN * scene.size for amount in lead.values()):
        return None
    return tuple(k for k in found if lead[k] > 0)


def _lead(centre: tuple[float, float], place: tuple[float, float], modifier: str) -> float:
    """Return how far a centre lies from a place in the direction of the modifier, in pixels."""
    down, right = centre[0] - place[0], centre[1] - place[1]
    if "left" in modifier:
        return -right
    if "right" in modifier:
        return right
    return down if modifier == "below" else -down


@dataclass(frozen=True)
class Phrase:
    """A phrase and what it refers to.

    Args:
        text: Lower case, without punctuation.
        targets: Positions in ``Scene.things``; empty if it refers to nothing.
        kind: "name", "colour", "side", "size", "relation", or "absent" if it refers to nothing.
    """

    text: str
    targets: tuple[int, ...]
    kind: str


def describe(scene: Scene, rng: np.random.Generator, count: int) -> list[Phrase]:
    """Describe things in a scene, and things that are not in it.

    A quarter of the phrases refer to nothing, in equal parts if possible: a category that is not in the scene, a colour
    that no thing of a category has, or a place where there is none. If the scene has several things of a category, a
    sixth of its phrases refer to several. A scene about which there is no more to say gets phrases of absent categories
    instead, so that many phrases of a poor scene refer to nothing. Phrases repeat only if these are used up.

    Args:
        scene: The scene.
        rng: Random generator of all choices.
        count: Number of phrases.
    """
    phrases: list[Phrase] = []
    for _ in range(count):
        draw = rng.random()
        wish = 0 if draw < ABSENT_SHARE else 2 if draw < ABSENT_SHARE + SEVERAL_SHARE else 1
        phrases.append(_find(scene, rng, wish, {p.text for p in phrases}))
    return phrases


def _find(scene: Scene, rng: np.random.Generator, wish: int, taken: set[str]) -> Phrase:
    names = [t.name for t in scene.things]
    for way in _ways(names, rng, wish):
        for _ in range(TRIES):
            several = way == "fit several" or (way.startswith("other") and bool(rng.random() < 0.2))
            name = pick(rng, _candidates(names, way))
            form = _dress(name, pick(rng, KINDS_OF.get(way, KINDS)), names, rng, several=several)
            targets = resolve(form, scene)
            if targets is not None and bool(targets) == way.startswith("fit") and form.text not in taken:
                return Phrase(form.text, targets, form.kind if targets else "absent")
    texts = [Form(name).text for name in _others(names)]
    return Phrase(pick_fresh(rng, texts, taken), (), "absent")


def _ways(names: Sequence[str], rng: np.random.Generator, wish: int) -> list[str]:
    if wish == 0:
        ways = ["other category", "other colour", "other place"]
        return [ways[k] for k in rng.permutation(3)] if names else ways[:1]
    several = ["fit several"] if wish > 1 and len(names) > len(set(names)) else []
    return [*several, "fit one"] if names else []


def _dress(name: str, kind: str, names: Sequence[str], rng: np.random.Generator, *, several: bool) -> Form:
    several = several and name not in SINGLE
    paint = pick(rng, COLOURS) if name in COLOURED else None
    colour = paint if kind == "colour" or rng.random() < 0.15 else None
    others = [other for other in names if other != name]
    if kind == "relation" and others:
        return Form(name, colour, pick(rng, RELATIONS), pick(rng, others), several)
    if kind == "side":
        plain = several or name in SINGLE
        return Form(name, colour, pick(rng, HALVES if plain else EXTREMES + HALVES * 2), several=several)
    if kind == "size" and name not in SINGLE:
        return Form(name, colour, pick(rng, SIZES))
    return Form(name, colour, several=several)


def _candidates(names: Sequence[str], way: str) -> Sequence[str]:
    if way == "fit several":
        return [name for name in names if names.count(name) > 1]
    return _others(names) if way == "other category" else names


def _others(names: Sequence[str]) -> list[str]:
    return [name for name in THINGS if name not in names]
