"""Reading of answers: which names stand before which decision tokens, and what is wrong with them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Fault = Literal["missing", "repeated", "unknown", "order", "trailing"]

Piece = tuple[str, bool]
"""The text before a decision token, and whether that was the present token."""


@dataclass(frozen=True)
class ParsedEntry:
    """An entry read from an answer.

    Args:
        name: The name, spelled as in the query.
        present: Whether the present token followed it.
        decision: Position among the decision tokens of the answer, from 0.
    """

    name: str
    present: bool
    decision: int


@lru_cache(maxsize=1 << 16)  # every query repeats the names of a data set
def normalise(name: str) -> str:
    """Return the form in which names are compared: single blanks, without case and Unicode composition."""
    plain = " ".join(name.split())
    if plain.isascii():
        return plain.casefold()
    # Unicode's canonical caseless matching, since tokenisers may compose characters that a user typed decomposed
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", plain).casefold())


def split_text(text: str, present_token: str, absent_token: str) -> tuple[list[Piece], str]:
    """Split an answer at its decision tokens.

    Args:
        text: The answer.
        present_token: Token that says that a name is in the image.
        absent_token: Token that says that it is not.

    Returns:
        The pieces, and the text behind the last token.
    """
    pieces: list[Piece] = []
    start = 0
    for found in re.finditer(f"{re.escape(present_token)}|{re.escape(absent_token)}", text):
        pieces.append((text[start : found.start()], found[0] == present_token))
        start = found.end()
    return pieces, text[start:]


def read_entries(
    query: Sequence[str], spellings: Sequence[str], pieces: Sequence[Piece]
) -> tuple[tuple[ParsedEntry, ...], list[Fault]]:
    """Match the entries of an answer with the categories asked for.

    Args:
        query: The names asked for, in order.
        spellings: The spelling of each of them in an answer; names of equal spelling are matched in order.
        pieces: The names as they were written, each with its decision.

    Returns:
        The entries in the order written, each name once (the first counts), and the faults.
    """
    waiting: dict[str, list[str]] = {}
    for name, spelling in zip(query, spellings, strict=True):
        waiting.setdefault(spelling, []).append(name)
    entries: dict[str, ParsedEntry] = {}
    faults: list[Fault] = []
    for decision, (written, present) in enumerate(pieces):
        names = waiting.get(written)
        if not names:
            faults.append("unknown" if names is None else "repeated")
        else:
            name = names.pop(0)
            entries[name] = ParsedEntry(name, present, decision)
    faults += ["missing"] * (len(query) - len(entries))
    faults += ["order"] if list(entries) != [name for name in query if name in entries] else []
    return tuple(entries.values()), faults


def read_single(name: str, pieces: Sequence[Piece]) -> tuple[tuple[ParsedEntry, ...], list[Fault]]:
    """Read the one decision about a phrase, whatever the words before it.

    Args:
        name: The phrase.
        pieces: The text before each decision token, and its decision; the first counts.

    Returns:
        The entry, or none if there is no decision, and the faults.
    """
    faults: list[Fault] = [] if pieces else ["missing"]
    faults += ["repeated"] * (len(pieces) - 1)
    return tuple(ParsedEntry(name, present, 0) for _, present in pieces[:1]), faults
