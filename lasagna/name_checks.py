"""Names of queries: their spelling in a text, and what they must not hold.

The names of a data set come again with every record, so that what is found out about one is kept.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

KEPT = 1 << 16
"""About how many names something is kept."""


@lru_cache(maxsize=KEPT)
def single_spaced(name: str) -> str:
    """Return a name as it is written in prompts and answers: without blanks around it, and single ones within."""
    return " ".join(name.split())


@lru_cache(maxsize=KEPT)
def name_fault(name: str, reserved: tuple[str, ...], separators: tuple[str, ...]) -> str | None:
    """Say why a name cannot be asked for, or None if it can.

    Args:
        name: The name.
        reserved: Tokens that it must not hold.
        separators: What stands between names, which it must not hold either.
    """
    if all(unicodedata.category(character)[0] in "CZ" for character in name):
        return f"nothing can be seen in the name {name!r}; every name needs a visible character"
    held = [text for text in (*reserved, *separators) if text in name]
    return f"the name {name!r} holds {held}, which this prompt format uses itself" if held else None
