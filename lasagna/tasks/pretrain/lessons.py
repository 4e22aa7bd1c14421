"""What the language model learns from about one scene: its symbols, and texts about it."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from lasagna.core.dialogue import Kind
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes import CATEGORIES, Scene, ask, describe, draw_scene, riddles
from lasagna.tasks.pretrain.symbols import occupancy, symbol_grid


@dataclass(frozen=True)
class Pointer:
    """A text that points at something, or at nothing.

    Args:
        text: A phrase, a riddle or a category.
        kind: "referring", "reasoning" or "complex".
        where: Share of each cell that it covers, ``[i]``, or None if it fits nothing.
    """

    text: str
    kind: Kind
    where: NDArray[np.float16] | None


@dataclass(frozen=True)
class Lesson:
    """One scene without its pixels.

    Args:
        symbols: What each cell holds, ``[i, s]``.
        categories: Each category of the scenes, with where it is.
        pointers: Phrases and riddles, with where they point.
        questions: Questions and their answers.
    """

    symbols: NDArray[np.float16]
    categories: tuple[Pointer, ...]
    pointers: tuple[Pointer, ...]
    questions: tuple[tuple[str, str], ...]


def lesson(scene: Scene, rng: np.random.Generator, count: int = 12) -> Lesson:
    """Make the lesson of a scene, with ``count`` phrases and questions each and half as many riddles."""
    present = set(scene.present)
    categories = [
        Pointer(name, "complex", occupancy(scene.category_mask([name])) if name in present else None)
        for name in CATEGORIES
    ]
    pointers = [
        Pointer(phrase.text, "referring", occupancy(scene.mask(phrase.targets)) if phrase.targets else None)
        for phrase in describe(scene, rng, count)
    ]
    pointers += [
        Pointer(riddle.text, "reasoning", occupancy(scene.category_mask(riddle.names)) if riddle.names else None)
        for riddle in riddles(scene, rng, count // 2)
    ]
    questions = tuple((question.text, question.answer) for question in ask(scene, rng, count))
    return Lesson(symbol_grid(scene), tuple(categories), tuple(pointers), questions)


def make_lessons(count: int, seed: int, processes: int = 2) -> list[Lesson]:
    """Make lessons on several processes.

    Args:
        count: How many.
        seed: Seed; another one than any evaluation uses.
        processes: How many processes draw.
    """
    with get_context("spawn").Pool(processes) as workers:
        made = workers.imap(_lesson, ((seed, index) for index in range(count)), chunksize=64)
        return list(track(made, description="making lessons", total=count))


def _lesson(place: tuple[int, int]) -> Lesson:
    rng = generator(place[0], 0, f"lesson/{place[1]}")
    return lesson(draw_scene(rng), rng)
