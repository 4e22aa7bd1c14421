"""COCO's category names as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

from lasagna.core.record import Manifest
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


FOLDER = Path(__file__).parents[1] / "names"

Names = Mapping[int, tuple[str, ...]]
"""Label value to the class's name, then its other names."""


def packaged_names(name: str) -> dict[int, tuple[str, ...]]:
    """Return a list of this package: a class a line, with its id, its name and other names, tabs between them.

    Args:
        name: Name of the file without extension.
    """
    lines = (FOLDER / f"{name}.txt").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {int(number): tuple(names) for number, *names in rows}


def named_manifest(name: str, names: Names, origin: str, licence: str, void: tuple[int, ...] = ()) -> Manifest:
    """Return the manifest of a data set with label maps in which every pixel is annotated.

    Another name of a class that is the name of a class itself ("screen" of "blind" in ADE20K) is no alias.

    Args:
        name: Name of the data set.
        names: Its classes by label value.
        origin: Where it comes from.
        licence: Terms of use.
        void: Label values that count nowhere.
    """
    categories = tuple(first for first, *_ in names.values())
    aliases = {first: tuple(other for other in others if other not in categories) for first, *others in names.values()}
    return Manifest(
        name=name,
        categories=categories,
        labels={value: first for value, (first, *_) in names.items()},
        void=void,
        origin=origin,
        licence=licence,
        aliases={first: others for first, others in aliases.items() if others},
    )
