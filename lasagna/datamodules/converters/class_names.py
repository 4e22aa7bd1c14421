"""Lists of class names that releases do not bring along, from files of this package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lasagna.core.record import Manifest

FOLDER = Path(__file__).parent / "names"

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
