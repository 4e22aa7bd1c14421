"""Questions with an answer of one word: how many, what colour, is there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.choice import pick
from lasagna.datamodules.scenes.vocabulary import CATEGORIES, THINGS, plural

if TYPE_CHECKING:
    import numpy as np

    from lasagna.datamodules.scenes.scene import Scene

NUMBERS = ("zero", "one", "two", "three", "four")
MASS = ("sky", "grass", "sand", "snow", "sea")
# Twice, because few scenes offer many colour questions.
KINDS = ("count", "colour", "colour", "presence")
TRIES = 8


@dataclass(frozen=True)
class Question:
    """A question and its answer.

    Attributes:
        text: Lower case, without punctuation.
        answer: One word.
        kind: "count", "colour" or "presence".
    """

    text: str
    answer: str
    kind: str


def ask(scene: Scene, rng: np.random.Generator, count: int) -> list[Question]:
    """Ask about a scene.

    About a third of each kind; a scene without a clear colour is asked for counts instead. About a
    quarter of the counts is zero, categories with many things are preferred, and half of the presences
    are "yes".
    Stuff of which too little is seen (`VOID`) does not count as present. Questions repeat only where
    a few tries found no other.

    Args:
        scene: The scene.
        rng: Source of all choices.
        count: How many questions to return.
    """
    questions: list[Question] = []
    for _ in range(count):
        for _ in range(TRIES):
            question = _question(scene, rng)
            if question not in questions:
                break
        questions.append(question)
    return questions


def _question(scene: Scene, rng: np.random.Generator) -> Question:
    kind = pick(rng, KINDS)
    if kind == "colour":
        clear = _clear_colours(scene)
        if clear:
            return pick(rng, clear)
        kind = "count"
    return _count(scene, rng) if kind == "count" else _presence(scene, rng)


def _count(scene: Scene, rng: np.random.Generator) -> Question:
    seen = Counter(t.name for t in scene.things)
    missing = [name for name in THINGS if name not in seen]
    # Twice per thing beyond the first, or "one" would be the answer to nearly everything.
    weighted = [name for name, n in seen.items() for _ in range(2 * n - 1)]
    name = pick(rng, weighted if weighted and rng.random() < 0.8 else missing)
    return Question(f"how many {plural(name)} are there", NUMBERS[seen[name]], "count")


def _clear_colours(scene: Scene) -> list[Question]:
    colours: dict[str, list[str]] = {}
    for thing in scene.things:
        if thing.colour:
            colours.setdefault(thing.name, []).append(thing.colour)
    return [
        Question(f"what colour {_subject(name, len(found))}", found[0], "colour")
        for name, found in colours.items()
        if len(set(found)) == 1
    ]


def _subject(name: str, number: int) -> str:
    return f"is the {name}" if number == 1 else f"are the {plural(name)}"


def _presence(scene: Scene, rng: np.random.Generator) -> Question:
    present = scene.present
    yes = bool(rng.random() < 0.5)
    name = pick(rng, [name for name in CATEGORIES if (name in present) == yes])
    article = "" if name in MASS else "an " if name[0] in "aeiou" else "a "
    return Question(f"is there {article}{name}", "yes" if yes else "no", "presence")
