"""Names of categories: as people say them, from this package's lists, and in a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.errors import LasagnaError

FOLDER = Path(__file__).parents[1] / "names"

Names = Mapping[int, tuple[str, ...]]
"""Label value to the class's name, followed by its other names."""

_EMPTY_ENDINGS = ("merged", "other", "stuff")
"""Endings that mark a class in the annotators' hierarchy and do not describe what it looks like."""

_OWN = {"window-blind": "window blind", "playingfield": "playing field"}
"""Names that no rule turns into what people say."""

_QUALIFIER = re.compile(r"_?\((?P<words>[^)]*)\)\s*")

MISSPELLED = {"colied tube": "coiled tube"}
"""Part names that PACO misspells; the release's spelling becomes an alias."""


def packaged_names(name: str) -> dict[int, tuple[str, ...]]:
    """Return a list of this package: one class a line, with its id, its name and other names, separated by tabs.

    Args:
        name: Name of the file without extension.
    """
    lines = (FOLDER / f"{name}.txt").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {int(number): tuple(names) for number, *names in rows}


def named_manifest(name: str, names: Names, origin: str, licence: str, void: tuple[int, ...] = ()) -> Manifest:
    """Return the manifest of a data set with label maps in which every pixel is annotated.

    Another name of a class that is also the name of a class ("screen" of "blind" in ADE20K) is not an alias.

    Args:
        name: Name of the data set.
        names: Its classes by label value.
        origin: Where it comes from.
        licence: Terms of use.
        void: Label values that are ignored.
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


def spoken(name: str) -> str:
    """Return the name of a panoptic or stuff class of COCO as people say it.

    The endings "-merged", "-other" and "-stuff" are dropped; any other ending is a material and goes before the noun:
    "wall-brick" becomes "brick wall", "floor-other-merged" becomes "floor".

    Args:
        name: The name in the release.
    """
    if name in _OWN:
        return _OWN[name]
    noun, *endings = name.split("-")
    materials = [ending for ending in endings if ending not in _EMPTY_ENDINGS]
    return " ".join([*materials, noun]).replace("_", " ")


def spoken_names(names: Mapping[int, str]) -> tuple[dict[int, str], dict[str, tuple[str, ...]]]:
    """Return the spoken names of COCO's classes by id, and the name in the release for each name that changed.

    Args:
        names: The names in the release by id.

    Raises:
        LasagnaError: If two classes get the same name.
    """
    said = {number: spoken(name) for number, name in names.items()}
    if doubled := sorted(name for name, count in Counter(said.values()).items() if count > 1):
        raise LasagnaError(f"categories: several classes would be called {doubled}; rename them in the annotation file")
    return said, {said[number]: (name,) for number, name in names.items() if said[number] != name}


def spoken_lvis_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return LVIS's names by id without underscores, and without their qualifiers where they are unique without them.

    "mouse_(computer_equipment)" becomes "mouse"; "fish_(food)" becomes "fish (food)", since there is also "fish".

    Args:
        names: The names in the release.
    """
    plain = {number: _plain(name) for number, name in names.items()}
    counts = Counter(plain.values())
    qualified = {number: _QUALIFIER.sub(r" (\g<words>)", name) for number, name in names.items()}
    return {
        number: name if counts[name] == 1 else qualified[number].replace("_", " ").strip()
        for number, name in plain.items()
    }


def _plain(name: str) -> str:
    # "monitor_(computer_equipment) computer_monitor" has its proper name after the qualifier
    last = [part for part in _QUALIFIER.sub("\n", name).split("\n") if part][-1]
    return last.replace("_", " ").strip()


def spoken_part_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return the names of objects and of their parts ("object:part") as people say them, by id.

    Args:
        names: The names in the release.
    """
    objects = sorted({name.partition(":")[0] for name in names.values()})
    said = dict(zip(objects, spoken_lvis_names(dict(enumerate(objects))).values(), strict=True))
    full = {}
    for number, name in names.items():
        thing, _, part = name.partition(":")
        words = part.replace("_", " ")
        full[number] = f"{said[thing]} {MISSPELLED.get(words, words)}".strip()
    return full


def spoken_labels(labels: Iterable[str]) -> dict[str, str]:
    """Return the name of each label of a user's own data: underscores become blanks, and the spelling stays.

    Labels that differ only by case, underscores or blanks are one name, in the spelling of the first.

    Args:
        labels: The labels as they are written.
    """
    first: dict[str, str] = {}
    names = {}
    for label in labels:
        spaced = " ".join(label.replace("_", " ").split()) or label
        names[label] = first.setdefault(normalise(spaced), spaced)
    return names


def other_labels(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the labels of each name that are written differently, for the names that have any.

    Args:
        names: The name of each label.
    """
    found: dict[str, tuple[str, ...]] = {}
    for label, name in names.items():
        if label != name:
            found[name] = (*found.get(name, ()), label)
    return found
