"""Thresholds of presence for single names, beside that of the assistant for all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from lasagna.core.json_text import parse_json
from lasagna.errors import LasagnaError, QueryError

if TYPE_CHECKING:
    from lasagna.core.batch import Query


def with_thresholds(
    queries: Sequence[Query], thresholds: Mapping[str, float] | None, decoding: str = "ordered"
) -> list[Query]:
    """Return queries in which some names have a threshold of their own.

    Args:
        queries: The queries.
        thresholds: Name to the score in [0, 1] from which it is called present; None for none.
        decoding: How answers are decoded; only "ordered" and "one_pass" compare scores.

    Raises:
        QueryError: If a name is not asked for, or its threshold is no number in [0, 1].
    """
    if not thresholds:
        return list(queries)
    if decoding not in ("ordered", "one_pass"):
        raise QueryError(
            f"thresholds: {decoding!r} decoding compares no scores; use 'ordered' or 'one_pass', or leave the "
            "thresholds out"
        )
    check_thresholds(thresholds)
    asked = dict.fromkeys(name for query in queries if not query.kind.words for name in query.names)
    if unknown := [name for name in thresholds if name not in asked]:
        names = ", ".join(map(repr, list(asked)[:20])) or "none"
        raise QueryError(
            f"thresholds: {str(unknown[0])[:80]!r} is none of the names that are decided on ({names}); correct it or "
            "leave it out"
        )
    return [
        query if query.kind.words else replace(query, thresholds=tuple(map(thresholds.get, query.names)))
        for query in queries
    ]


def completed(query: Query, threshold: float | None) -> Query:
    """Return a query in which names without a threshold of their own have this one.

    Args:
        query: The query.
        threshold: The score in [0, 1]; None to leave them that of the assistant.
    """
    if threshold is None:
        return query
    given = query.thresholds or (None,) * len(query.names)
    return replace(query, thresholds=tuple(threshold if cut is None else cut for cut in given))


def thresholds_of(query: Query, default: float) -> list[float]:
    """Return the score from which each name of a query is present; what is pointed at is present whatever its score.

    Args:
        query: The query.
        default: That of names without one of their own.
    """
    if query.visual is not None:
        return [0.0] * len(query.names)
    given = query.thresholds or (None,) * len(query.names)
    return [default if cut is None else cut for cut in given]


def nearness(score: float, threshold: float) -> float:
    """Return how near a score is to a threshold, in [0, 1].

    That is 1 less their distance, as a share of the distance from the threshold to that end of the scale.

    Args:
        score: The score, in [0, 1].
        threshold: Score from which a name is called present.
    """
    way = (1 - threshold) if score >= threshold else threshold
    return 1 - abs(score - threshold) / way if way else 0.0


def check_threshold(threshold: float | None) -> None:
    """Check the score from which names are called present; None leaves it as it is.

    Raises:
        LasagnaError: If it is no number in [0, 1].
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise LasagnaError(f"threshold: expected a number in [0, 1], got {threshold}")


def check_thresholds(thresholds: Mapping[str, Any]) -> None:
    """Check that each name has a number in [0, 1].

    Raises:
        QueryError: If one has something else, or they are not given by name.
    """
    if not isinstance(thresholds, Mapping):
        raise QueryError(f"thresholds: expected numbers by name such as {{'dog': 0.7}}, got {thresholds!r:.80}")
    for name, value in thresholds.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise QueryError(f"thresholds: {str(name)[:80]!r} has {value!r}; expected a number in [0, 1]")


_WAY_OUT = 'give names with numbers such as "{dog: 0.7}", or a JSON file with them'


def read_thresholds(given: Mapping[str, float] | Path | str | None) -> Mapping[str, float] | None:
    """Return thresholds by name, also those of a JSON file such as ``{"dog": 0.7}``.

    Args:
        given: The thresholds, their file, or a text as on a command line: "{dog: 0.7}" or the path of a file (.json);
            None for none.

    Raises:
        QueryError: If the file or the text cannot be read, or one is no number in [0, 1].
    """
    if isinstance(given, str):
        given = Path(given) if given.endswith(".json") else _parsed(given)
    if isinstance(given, Path):
        try:
            given = parse_json(given.read_bytes())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise QueryError(f"thresholds: {str(given)!r} cannot be read ({reason}); {_WAY_OUT}") from error
        if not isinstance(given, dict):
            raise QueryError(f"thresholds: the file has no names with numbers; {_WAY_OUT}")
    if given is not None:
        check_thresholds(given)
    return given


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise QueryError(f"thresholds: {text[:80]!r} has no names with numbers; {_WAY_OUT}")
    return found
