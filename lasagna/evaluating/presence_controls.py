"""Lists of names that words alone cannot answer: as many absent names as present ones, drawn to look likely.

A model that does not look at the picture can still guess that a sea is likelier than a zebra. Absent names from the
same data set leave it the frequencies; absent names that often stand beside the present ones leave it nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Literal

import numpy as np

from lasagna.core.dialogue import Dialogue
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Record

Names = Literal["asked", "same-set", "co-occurring"]


@dataclass(frozen=True)
class Companions:
    """How often categories are in one picture.

    Args:
        pictures: Category to the number of pictures that show it.
        together: Pair of categories to the number of pictures that show both.
    """

    pictures: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def count(cls, records: Iterable[Record]) -> Companions:
        """Count the categories of some records."""
        found = cls()
        for record in records:
            names = [normalise(name) for name in record.category_masks()]
            found.pictures.update(names)
            found.together.update(permutations(names, 2))
        return found

    def likelihood(self, name: str, present: Iterable[str]) -> float:
        """Return the mean share of the pictures with a present category that show the name too."""
        name = normalise(name)
        shares = [
            self.together[one, name] / self.pictures[one] for one in map(normalise, present) if self.pictures[one]
        ]
        return sum(shares) / len(shares) if shares else 0.0


def balanced(dialogue: Dialogue, rng: np.random.Generator, companions: Companions | None = None) -> Dialogue | None:
    """Ask for all present names and as many absent ones, in random order.

    Args:
        dialogue: A complex query as its task asks it: every name that is present or known to be absent.
        rng: The generator that belongs to the record.
        companions: Where given, the absent names are those that are likeliest beside the present ones; else any.

    Returns:
        The dialogue; None if it is not complex, or has no present or no absent name.
    """
    present = [entry.name for entry in dialogue.entries if entry.present]
    known = {normalise(name) for name in present}
    absent = [name for name in dialogue.query if normalise(name) not in known]
    if dialogue.kind != "complex" or not present or not absent:
        return None
    absent = [absent[place] for place in rng.permutation(len(absent))]
    if companions is not None:
        absent.sort(key=lambda name: -companions.likelihood(name, present))
    names = [*present, *absent[: len(present)]]
    return dialogue.with_answer([names[place] for place in rng.permutation(len(names))], dialogue.entries)


def noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an image of the same size in which nothing is to be seen, uint8 ``[H, W, 3]``."""
    return rng.integers(0, 256, image.shape, dtype=np.uint8)
