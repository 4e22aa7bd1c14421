"""The scores of a report as tables: all of one source, and the main ones of all sources."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lasagna.core.pages import number, table
from lasagna.evaluating.scoring import Outcome
from lasagna.tasks.metrics import PROTOCOLS, Quantity, quantity_of

MAIN = (
    *("miou/lasagna-v1", "presence_f1/lasagna-v1", "false_positive_rate/lasagna-v1", "giou/grefcoco", "n_acc/grefcoco"),
    *("giou/lisa", "ciou/lisa", "giou/teacher-forced", "ciou/teacher-forced", "vqa_accuracy/lasagna-v1"),
)
"""The scores that are shown first, in this order."""

_FIRST = ("miou", "giou", "ciou", "presence_f1", "vqa_accuracy")


def main_scores(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a row for each source, in a table with those that have the same scores; of the first way of decoding."""
    groups: dict[tuple[str, ...], list[list[str]]] = {}
    for outcome in outcomes:
        keys = tuple(key for key in MAIN if _main(outcome, key) is not None)
        row = [outcome.one.name, str(outcome.records)]
        groups.setdefault(keys, []).append(row + [number(outcome.scores[str(_main(outcome, key))]) for key in keys])
    tables = [
        table(["asked of", "records", *(f"{key} {arrow(key)}" for key in keys)], rows) for keys, rows in groups.items()
    ]
    return [line for rank, lines in enumerate(tables) for line in ([""] if rank else []) + lines]


def all_scores(outcome: Outcome) -> list[str]:
    """Return a table with a row for each score of a source, and a column for each way of decoding."""
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for key, value in outcome.scores.items():
        if not math.isnan(value) and not key.startswith("faults/"):
            quantity, protocol, part, way = _apart(key)
            values.setdefault((quantity, protocol, part), {})[way] = value
    used = {way for found in values.values() for way in found}
    ways = [way for way in ("ordered", "free", "given") if way in used]
    head = ["score", "protocol", *(ways if len(ways) > 1 else ["value"]), "what it is"]
    rows = [
        [
            f"{quantity} {part} {arrow(quantity)}",
            protocol,
            *(number(values[quantity, protocol, part].get(way, math.nan)) for way in ways),
            _quantity(quantity).text,
        ]
        for quantity, protocol, part in sorted(values, key=_place)
    ]
    return table(head, rows)


def arrow(key: str) -> str:
    """Return the direction of a score."""
    return "↑" if _quantity(key).higher_is_better else "↓"


def _main(outcome: Outcome, key: str) -> str | None:
    """Return the key that a main score has in a source, or None."""
    return next((known for known in (key, f"{key}/free") if known in outcome.scores), None)


def _apart(key: str) -> tuple[str, str, str, str]:
    """Return quantity, protocol, part and way of decoding of a key."""
    quantity, protocol, *parts = key.split("/")
    free = parts[:1] == ["free"]
    way = "free" if free else "given" if protocol == "teacher-forced" else "ordered"
    return quantity, protocol, " ".join(parts[free:]), way


def _place(row: tuple[str, str, str]) -> tuple[int, int, str, str]:
    quantity, protocol, part = row
    known = list(PROTOCOLS)
    first = _FIRST.index(quantity) if quantity in _FIRST else len(_FIRST)
    return known.index(protocol) if protocol in known else len(known), first, quantity, part


def _quantity(key: str) -> Quantity:
    # a task of one's own may measure what is not listed
    try:
        return quantity_of(key)
    except KeyError:
        return Quantity("")
