"""Lists that are longer than a language model takes, asked in several queries.

A list is asked in as few parts as fit, in its order and of about equally many names each, and the answers are put
together: entries and faults one after the other, texts with a line break between them. So a name's decision leans on
the names before it in its own part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from lasagna.core.batch import Query
from lasagna.core.dialogue import Answer
from lasagna.core.overlaps import OverlapMap


def split_query(query: Query, fits: Callable[[Query], bool]) -> list[Query]:
    """Return a query as parts that fit, or alone if it fits, is no list, or even a single name of it does not fit.

    Args:
        query: The query.
        fits: Says whether a query and its answer fit into the language model.
    """
    if query.kind != "categories" or fits(query):
        return [query]
    for count in range(2, len(query.names) + 1):
        parts = [replace(query, names=names) for names in _shared_out(query.names, count)]
        if all(map(fits, parts)):
            return parts
    return [query]


def join_answers(answers: Sequence[Answer]) -> Answer:
    """Put the answers to the parts of a query together."""
    if len(answers) == 1:
        return answers[0]
    entries = tuple(entry for answer in answers for entry in answer.entries)
    faults = tuple(fault for answer in answers for fault in answer.faults)
    return Answer("\n".join(answer.text for answer in answers), entries, faults, _joined_tops(answers))


def _joined_tops(answers: Sequence[Answer]) -> OverlapMap | None:
    joined, first = None, 0
    for answer in answers:
        if answer.top is not None:
            joined = (joined or OverlapMap(answer.top.size)).joined(answer.top, first)
        first += len(answer.entries)
    return joined


def _shared_out(names: tuple[str, ...], count: int) -> list[tuple[str, ...]]:
    ends = [len(names) * part // count for part in range(count + 1)]
    return [names[start:end] for start, end in pairwise(ends)]
