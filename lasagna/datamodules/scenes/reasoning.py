"""Indirect descriptions: what is meant is said by its use, not by its name."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from lasagna.datamodules.scenes.choice import pick_fresh

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lasagna.datamodules.scenes.scene import Scene

# Each text means exactly the categories beside it, by this table and not by debate.
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


@dataclass(frozen=True)
class Riddle:
    """An indirect description and what it means in one scene.

    Attributes:
        text: One of the keys of `RULES`.
        names: The categories meant that are visible; empty where it fits nothing.
        targets: Positions in `Scene.things` of the things meant; stuff has none.
    """

    text: str
    names: tuple[str, ...]
    targets: tuple[int, ...]

    def mask(self, scene: Scene) -> NDArray[np.bool_]:
        """Return all pixels of what is meant, `[size, size]`.

        Args:
            scene: The scene of the riddle.
        """
        return scene.category_mask(self.names)


def solve(text: str, scene: Scene) -> Riddle:
    """Return what a text means in a scene.

    Args:
        text: One of the keys of `RULES`.
        scene: The scene.
    """
    names = tuple(name for name in RULES[text] if name in scene.present)
    return Riddle(text, names, tuple(k for k, t in enumerate(scene.things) if t.name in names))


def riddles(scene: Scene, rng: np.random.Generator, count: int) -> list[Riddle]:
    """Ask for things by their use.

    Half of the riddles fit something, half nothing; they repeat only where a scene offers no other.

    Args:
        scene: The scene.
        rng: Source of all choices.
        count: How many riddles to return.
    """
    present = set(scene.present)
    fits = [text for text, names in RULES.items() if not present.isdisjoint(names)]
    misses = [text for text, names in RULES.items() if present.isdisjoint(names)]
    texts: list[str] = []
    for _ in range(count):
        pool = (fits or misses) if rng.random() < 0.5 else misses
        texts.append(pick_fresh(rng, pool, texts))
    return [solve(text, scene) for text in texts]
