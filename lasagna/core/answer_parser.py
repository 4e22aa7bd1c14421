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
        decision: Position of its first token among the decision tokens of the answer, from 0.
        count: Number of its tokens, which follow one another.
        span: Begin and end of the phrase in the words of an answer that has masks among them, or None.
    """

    name: str
    present: bool
    decision: int
    count: int = 1
    span: tuple[int, int] | None = None


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


Run = tuple[str, bool, int, int]
"""A piece, the position of its token, and the number of tokens that follow one another there."""


def token_runs(pieces: Sequence[Piece], most: int) -> tuple[list[Run], list[Fault]]:
    """Join present tokens that follow one another, as those of several objects do.

    Args:
        pieces: The text before each decision token, and its decision.
        most: Most tokens of a name; 0 to join none.

    Returns:
        The runs, and a fault for each token above ``most``.
    """
    runs: list[Run] = []
    for place, (lead, present) in enumerate(pieces):
        if most and present and runs and runs[-1][1] and not lead.strip():
            runs[-1] = (*runs[-1][:3], runs[-1][3] + 1)
        else:
            runs.append((lead, present, place, 1))
    faults: list[Fault] = ["repeated"] * sum(max(0, count - max(1, most)) for *_, count in runs)
    return [(*run[:3], min(run[3], max(1, most))) for run in runs], faults


def read_entries(
    query: Sequence[str], spellings: Sequence[str], runs: Sequence[Run]
) -> tuple[tuple[ParsedEntry, ...], list[Fault]]:
    """Match the entries of an answer with the categories asked for.

    Args:
        query: The names asked for, in order.
        spellings: The spelling of each of them in an answer; names of equal spelling are matched in order.
        runs: The names as they were written, each with its decision and its tokens.

    Returns:
        The entries in the order written, each name once (the first counts), and the faults.
    """
    waiting: dict[str, list[str]] = {}
    for name, spelling in zip(query, spellings, strict=True):
        waiting.setdefault(spelling, []).append(name)
    entries: dict[str, ParsedEntry] = {}
    faults: list[Fault] = []
    for written, present, decision, count in runs:
        names = waiting.get(written)
        if not names:
            faults.append("unknown" if names is None else "repeated")
        else:
            name = names.pop(0)
            entries[name] = ParsedEntry(name, present, decision, count)
    faults += ["missing"] * (len(query) - len(entries))
    faults += ["order"] if list(entries) != [name for name in query if name in entries] else []
    return tuple(entries.values()), faults


def read_single(name: str, runs: Sequence[Run]) -> tuple[tuple[ParsedEntry, ...], list[Fault]]:
    """Read the one decision about a phrase, whatever the words before it.

    Args:
        name: The phrase.
        runs: The text before each decision, and its tokens; the first counts.

    Returns:
        The entry, or none if there is no decision, and the faults.
    """
    faults: list[Fault] = [] if runs else ["missing"]
    faults += ["repeated"] * (len(runs) - 1)
    return tuple(ParsedEntry(name, present, place, count) for _, present, place, count in runs[:1]), faults
