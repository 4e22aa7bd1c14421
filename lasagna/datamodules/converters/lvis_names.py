"""LVIS's category names as people say them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_QUALIFIER = re.compile(r"_?\((?P<words>[^)]*)\)\s*")


def spoken_lvis_names(names: Mapping[int, str]) -> dict[int, str]:
    """Return names by id, without underscores, and without their qualifiers where they are unique without.

    "mouse_(computer_equipment)" is "mouse", "fish_(food)" stays "fish (food)" since there is also a fish.

    Args:
        names: The names in the release.
    """
    plain = {number: _plain(name) for number, name in names.items()}
    counts = Counter(plain.values())
    return {number: name if counts[name] == 1 else _qualified(names[number]) for number, name in plain.items()}


def _plain(name: str) -> str:
    # "monitor_(computer_equipment) computer_monitor" says after its qualifier what it is
    last = [part for part in _QUALIFIER.sub("\n", name).split("\n") if part][-1]
    return last.replace("_", " ").strip()


def _qualified(name: str) -> str:
    return _QUALIFIER.sub(lambda found: f" ({found['words']})", name).replace("_", " ").strip()
