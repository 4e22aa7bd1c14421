"""Lists that are longer than a language model takes, asked as several queries.

A list is split into as few parts as fit, in its order and with about equally many names each. The answers are joined:
entries and faults one after the other, texts with a line break between them. So the decision on a name depends only on
the names before it in its own part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lasagna.core.answer import Answer
from lasagna.core.batch import Query
from lasagna.core.overlaps import OverlapMap


def split_query(query: Query, fits: Callable[[Query], bool]) -> list[Query]:
    """Split a query into parts that fit.

    Args:
        query: The query.
        fits: Says whether a query and its answer fit into the language model.

    Returns:
        The parts; only the query itself if it fits, is not a list, or has a name that does not fit even alone.
    """
    if not query.kind.many or fits(query):
        return [query]
    for count in range(2, len(query.names) + 1):
        ends = [len(query.names) * part // count for part in range(count + 1)]
        spans = [slice(ends[part], ends[part + 1]) for part in range(count)]
        parts = [replace(query, names=query.names[span], thresholds=query.thresholds[span]) for span in spans]
        if all(map(fits, parts)):
            return parts
    return [query]


def join_answers(answers: Sequence[Answer]) -> Answer:
    """Join the answers to the parts of a query."""
    if len(answers) == 1:
        return answers[0]
    entries = tuple(entry for answer in answers for entry in answer.entries)
    faults = tuple(fault for answer in answers for fault in answer.faults)
    top, first = None, 0
    for answer in answers:
        if answer.top is not None:
            top = (top or OverlapMap(answer.top.size)).joined(answer.top, first)
        first += len(answer.entries)
    return Answer("\n".join(answer.text for answer in answers), entries, faults, top)
