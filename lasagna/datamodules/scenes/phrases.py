"""Referring phrases that fit none, one or several things of a scene."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.choice import pick, pick_fresh
from lasagna.datamodules.scenes.forms import EXTREMES, HALVES, RELATIONS, SIZES, Form, resolve
from lasagna.datamodules.scenes.vocabulary import COLOURED, COLOURS, SINGLE, THINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from lasagna.datamodules.scenes.scene import Scene

ABSENT_SHARE = 1 / 4
SEVERAL_SHARE = 1 / 6
TRIES = 40
KINDS = ("name", "colour", "side", "side", "size", "relation", "relation")


@dataclass(frozen=True)
class Phrase:
    """A phrase and what it fits.

    Attributes:
        text: Lower case, without punctuation.
        targets: Positions in `Scene.things`; empty where it fits nothing.
        kind: "name", "colour", "side", "size", "relation", or "absent" where it fits nothing.
    """

    text: str
    targets: tuple[int, ...]
    kind: str


def describe(scene: Scene, rng: np.random.Generator, count: int) -> list[Phrase]:
    """Describe things of a scene, and things that are not in it.

    A quarter of the phrases fits nothing, in equal parts where possible: a category that is not
    there, a colour that none of a category has, or a place where none is. Where the scene has several
    of a kind, a sixth of its phrases fits several. A scene that has no more to say is asked for
    absent categories instead, so many phrases of a poor scene fit nothing; only when these are used
    up do phrases repeat.

    Args:
        scene: The scene.
        rng: Source of all choices.
        count: How many phrases to return.
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
            form = _form(names, rng, way)
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


def _form(names: Sequence[str], rng: np.random.Generator, way: str) -> Form:
    several = way == "fit several" or (way.startswith("other") and bool(rng.random() < 0.2))
    name = pick(rng, _candidates(names, way))
    kinds = {"other colour": ("colour",), "other place": ("side", "relation")}.get(way, KINDS)
    return _dress(name, pick(rng, kinds), names, rng, several=several)


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
