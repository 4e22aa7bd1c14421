"""What makes scenes hard for decisions about presence: usual company, and twins that differ in colour or side only."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.scene import COLOURED, COLOURS, pick

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np

PAIRS = (("house", "fence"), ("car", "umbrella"), ("boat", "bird"), ("flower", "mushroom"), ("kite", "ball"))
COMPANIONS = dict(PAIRS) | {second: first for first, second in PAIRS}
"""The thing that usually stands beside each thing of a pair, on the same side and in the same colour."""

MOST_THINGS = 6


@dataclass(frozen=True)
class Role:
    """A thing that a scene is to have.

    Args:
        name: Category, one of ``THINGS``.
        colour: One of ``COLOURS`` or None.
        side: 0 for the left half, 1 for the right half, None for anywhere.
    """

    name: str
    colour: str | None
    side: int | None = None


@dataclass(frozen=True)
class Hardness:
    """How hard it is to tell present from absent names in scenes.

    Args:
        together: Probability with which a thing of a pair brings its companion, on its side and in its colour, so that
            the companion is expected where it is missing.
        twins: Probability that a scene has two things of a category on two sides in two colours, such as a red ball on
            the left and a blue one on the right: a left blue ball is absent then, though each of its words fits.
    """

    together: float = 0.0
    twins: float = 0.0

    def recast(self, rng: np.random.Generator, roles: Sequence[Role], possible: Collection[str]) -> list[Role]:
        """Return the things of a harder scene, those that matter first.

        Args:
            rng: Random generator of all choices; it is not used if both probabilities are 0.
            roles: The things of an ordinary scene.
            possible: The categories that fit the landscape.
        """
        cast = list(roles)
        coloured = [name for name in COLOURED if name in possible]
        if self.twins and coloured and rng.random() < self.twins:
            pair = _twins(rng, pick(rng, coloured))
            # a third thing of their category would be a twin by chance
            cast = pair + [role for role in cast if role.name != pair[0].name][: max(1, len(cast) - 2)]
        return list(islice(self._accompanied(rng, cast, possible), MOST_THINGS)) if self.together else cast

    def _accompanied(self, rng: np.random.Generator, cast: list[Role], possible: Collection[str]) -> list[Role]:
        names, accompanied = {role.name for role in cast}, []
        for role in cast:
            companion = COMPANIONS.get(role.name)
            if companion is None or companion in names or companion not in possible or rng.random() >= self.together:
                accompanied.append(role)
                continue
            side = int(rng.integers(2)) if role.side is None else role.side
            accompanied += [Role(role.name, role.colour, side), Role(companion, role.colour, side)]
            names.add(companion)
        return accompanied


def _twins(rng: np.random.Generator, name: str) -> list[Role]:
    first, second = rng.permutation(len(COLOURS))[:2].tolist()
    return [Role(name, COLOURS[first], 0), Role(name, COLOURS[second], 1)]
