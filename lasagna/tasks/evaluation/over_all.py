"""Scores over all data sets of a benchmark that has several, as SA-Co/Gold has: means over the data sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from lasagna.tasks.evaluation.scoring import EvaluationResult

SEVERAL: Mapping[str, str] = {"sa-co-gold": "sa-co"}
"""First letters of the names of a benchmark's data sets, to its protocol."""


def over_all(results: Sequence[EvaluationResult]) -> dict[str, dict[str, float]]:
    """Return the means of the benchmark's scores over its data sets, by the benchmark and the task.

    A score is averaged over the data sets that have it; a data set on which there is nothing to measure has none.

    Args:
        results: The results of all runs; those with controls do not count.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for result in results:
        for start, protocol in SEVERAL.items():
            if result.run.source.manifest.name.startswith(f"{start}-") and not result.run.controls:
                scores = {key: value for key, value in result.scores.items() if key.split("/")[1:2] == [protocol]}
                found.setdefault(f"{start}-{type(result.run.task).__name__.lower()}", []).append(scores)
    return {name: _means(parts) for name, parts in found.items() if len(parts) > 1}


def _means(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    keys = dict.fromkeys(key for part in parts for key in part)
    values = {key: [part[key] for part in parts if not math.isnan(part.get(key, math.nan))] for key in keys}
    return {key: sum(known) / len(known) if known else math.nan for key, known in values.items()}
