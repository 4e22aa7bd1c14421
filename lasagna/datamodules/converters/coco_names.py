"""COCO's category names as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

from lasagna.errors import LasagnaError

_EMPTY_ENDINGS = ("merged", "other", "stuff")
"""Endings that tell a class from others of the annotators' tree, and say nothing of what it looks like."""

_OWN = {"window-blind": "window blind", "playingfield": "playing field"}
"""Names that no rule turns into what people say."""


def spoken(name: str) -> str:
    """Return a name of COCO's panoptic or stuff classes as people say it.

    The endings "-merged", "-other" and "-stuff" go; any other ending is a material and goes before the noun:
    "wall-brick" is a brick wall, "floor-other-merged" a floor.

    Args:
        name: The name in the release.
    """
    if name in _OWN:
        return _OWN[name]
    noun, *endings = name.split("-")
    materials = [ending for ending in endings if ending not in _EMPTY_ENDINGS]
    return " ".join([*materials, noun]).replace("_", " ")


def spoken_names(names: Mapping[int, str]) -> tuple[dict[int, str], dict[str, tuple[str, ...]]]:
    """Return the spoken names of classes by id, and for those that changed the name in the release.

    Args:
        names: The names in the release by id.

    Raises:
        LasagnaError: If two classes come to the same name.
    """
    said = {number: spoken(name) for number, name in names.items()}
    if doubled := _doubled(said.values()):
        raise LasagnaError(f"categories: several classes would be called {doubled}; rename them in the annotation file")
    return said, {said[number]: (name,) for number, name in names.items() if said[number] != name}


def _doubled(names: Iterable[str]) -> list[str]:
    return sorted({one for one, other in pairwise(sorted(names)) if one == other})
