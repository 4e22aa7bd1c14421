"""Names that users gave to their own classes, as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lasagna.core.prompt_format import normalise


def spoken_labels(labels: Iterable[str]) -> dict[str, str]:
    """Return the name of each label: underscores are blanks, and the spelling stays.

    Labels that differ by case, underscores or blanks alone are one name, in the spelling of the first.

    Args:
        labels: The labels as they are written.
    """
    first: dict[str, str] = {}
    return {label: first.setdefault(normalise(_spaced(label)), _spaced(label)) for label in labels}


def other_labels(names: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return for each name the labels that are written otherwise, if there are any.

    Args:
        names: The name of each label.
    """
    found: dict[str, tuple[str, ...]] = {}
    for label, name in names.items():
        if label != name:
            found[name] = (*found.get(name, ()), label)
    return found


def _spaced(label: str) -> str:
    return " ".join(label.replace("_", " ").split()) or label
