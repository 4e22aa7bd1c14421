"""The structured form of a referring phrase, and the one function that says what it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.vocabulary import plural

if TYPE_CHECKING:
    from lasagna.datamodules.scenes.scene import Scene, Thing

EXTREMES = ("leftmost", "rightmost", "highest", "lowest")
SIZES = ("largest", "smallest")
HALVES = ("on the left", "on the right")
RELATIONS = ("left of", "right of", "above", "below")

POSITION_MARGIN = 0.08
AREA_RATIO = 1.3


@dataclass(frozen=True)
class Form:
    """What a phrase says, apart from its wording.

    Attributes:
        name: Category, one of `THINGS`.
        colour: Only things of this colour, if given.
        modifier: Empty, or one of `EXTREMES`, `SIZES`, `HALVES`, `RELATIONS`.
        reference: With a relation, the category of the one thing it refers to.
        several: Whether the phrase is in the plural.
    """

    name: str
    colour: str | None = None
    modifier: str = ""
    reference: str | None = None
    several: bool = False

    @property
    def superlative(self) -> bool:
        """Whether the form asks for the first in some order."""
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
    """Return the things a form fits, or None where that cannot be said clearly.

    Positions compare centres and must differ by `POSITION_MARGIN` of the size, areas by the factor
    `AREA_RATIO`; a superlative needs rivals, a reference must be unique, and the number must agree.

    Args:
        form: What is said.
        scene: What it is said of.
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
    ranks = {k: _rank(scene.things[k], form.modifier) for k in found}
    best, second = sorted(found, key=lambda k: ranks[k], reverse=True)[:2]
    if form.modifier in SIZES:
        clear = max(ranks[best] / ranks[second], ranks[second] / ranks[best]) >= AREA_RATIO
    else:
        clear = ranks[best] - ranks[second] >= POSITION_MARGIN * scene.size
    return (best,) if clear else None


def _rank(thing: Thing, modifier: str) -> float:
    row, col = thing.centre
    ranks = {"leftmost": -col, "rightmost": col, "highest": -row, "lowest": row}
    return {**ranks, "largest": thing.area, "smallest": -thing.area}[modifier]


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
    down, right = centre[0] - place[0], centre[1] - place[1]
    if "left" in modifier:
        return -right
    if "right" in modifier:
        return right
    return down if modifier == "below" else -down
