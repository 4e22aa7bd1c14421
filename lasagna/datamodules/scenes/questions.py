"""Questions about a scene with an answer of one word, riddles that describe things by their use, and the word list."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.phrases import EXTREMES, HALVES, RELATIONS, SIZES
from lasagna.datamodules.scenes.scene import CATEGORIES, LONG_NAMES, THINGS, pick, pick_fresh, plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lasagna.datamodules.scenes.scene import Scene

NUMBERS = ("zero", "one", "two", "three", "four")
MASS = ("sky", "grass", "sand", "snow", "sea")
# Colour occurs twice because few scenes allow many questions about colours.
KINDS = ("count", "colour", "colour", "presence")
TRIES = 8

RULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "what one could live in": ("house",),
        "what keeps one dry in the rain": ("umbrella",),
        "what can carry people": ("car", "boat"),
        "what grows out of the ground": ("grass", "oak", "pine", "flower", "mushroom"),
        "what birds build nests in": ("oak", "pine"),
        "what one could pick in a basket": ("flower", "mushroom"),
        "what shines at night": ("moon",),
        "what makes the day warm": ("sun",),
        "what rain falls from": ("cloud",),
        "what lays eggs": ("bird",),
        "what is held by a string": ("balloon", "kite"),
        "what bursts when a needle touches it": ("balloon",),
        "what children throw and catch": ("ball",),
        "what keeps animals from running away": ("fence",),
        "what moves on wheels": ("car",),
        "what needs wind to travel": ("boat", "kite"),
        "where one could swim": ("sea",),
        "where one could drive": ("road",),
        "what melts in spring": ("snow",),
        "what one could build a castle from": ("sand",),
        "where climbers go": ("mountain",),
        "what was built by hand": ("brick wall", "house", "fence"),
    }
)
"""Text of each riddle to the categories that it means."""

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
"""All words of names, phrases, riddles, questions and answers."""


@dataclass(frozen=True)
class Question:
    """A question and its answer.

    Args:
        text: Lower case, without punctuation.
        answer: One word.
        kind: "count", "colour" or "presence".
    """

    text: str
    answer: str
    kind: str


def ask(scene: Scene, rng: np.random.Generator, count: int) -> list[Question]:
    """Ask about a scene.

    Each kind makes up about a third; a scene without a clear colour gets questions about counts instead. About a
    quarter of the counts are zero, categories with many things are preferred, and half of the answers about presence
    are "yes". Stuff of which too little is visible (``VOID``) does not count as present. Questions repeat only if a few
    attempts give no new one.

    Args:
        scene: The scene.
        rng: Random generator of all choices.
        count: Number of questions.
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
    # Each thing after the first counts twice; otherwise the answer would nearly always be "one".
    weighted = [name for name, n in seen.items() for _ in range(2 * n - 1)]
    name = pick(rng, weighted if weighted and rng.random() < 0.8 else missing)
    return Question(f"how many {plural(name)} are there", NUMBERS[seen[name]], "count")


def _clear_colours(scene: Scene) -> list[Question]:
    colours: dict[str, list[str]] = {}
    for thing in scene.things:
        if thing.colour:
            colours.setdefault(thing.name, []).append(thing.colour)
    questions = []
    for name, found in colours.items():
        if len(set(found)) == 1:
            subject = f"is the {name}" if len(found) == 1 else f"are the {plural(name)}"
            questions.append(Question(f"what colour {subject}", found[0], "colour"))
    return questions


def _presence(scene: Scene, rng: np.random.Generator) -> Question:
    present = scene.present
    yes = bool(rng.random() < 0.5)
    name = pick(rng, [name for name in CATEGORIES if (name in present) == yes])
    article = "" if name in MASS else "an " if name[0] in "aeiou" else "a "
    return Question(f"is there {article}{name}", "yes" if yes else "no", "presence")


@dataclass(frozen=True)
class Riddle:
    """An indirect description and what it means in a scene.

    Args:
        text: One of the keys of ``RULES``.
        names: The visible categories that it means; empty if it refers to nothing.
        targets: Positions in ``Scene.things`` of the things that it means; stuff has none.
    """

    text: str
    names: tuple[str, ...]
    targets: tuple[int, ...]

    def mask(self, scene: Scene) -> NDArray[np.bool_]:
        """Return all pixels of what it means, bool ``[size, size]``.

        Args:
            scene: The scene of the riddle.
        """
        return scene.category_mask(self.names)


def solve(text: str, scene: Scene) -> Riddle:
    """Return the meaning of a riddle in a scene.

    Args:
        text: One of the keys of ``RULES``.
        scene: The scene.
    """
    names = tuple(name for name in RULES[text] if name in scene.present)
    return Riddle(text, names, tuple(k for k, t in enumerate(scene.things) if t.name in names))


def riddles(scene: Scene, rng: np.random.Generator, count: int) -> list[Riddle]:
    """Describe things by their use.

    Half of the riddles refer to something, half to nothing; they repeat only if a scene allows no others.

    Args:
        scene: The scene.
        rng: Random generator of all choices.
        count: Number of riddles.
    """
    present = set(scene.present)
    fits = [text for text, names in RULES.items() if not present.isdisjoint(names)]
    misses = [text for text, names in RULES.items() if present.isdisjoint(names)]
    texts: list[str] = []
    for _ in range(count):
        pool = (fits or misses) if rng.random() < 0.5 else misses
        texts.append(pick_fresh(rng, pool, texts))
    return [solve(text, scene) for text in texts]
