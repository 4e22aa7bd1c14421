"""The metrics of a run: those of its task, and those of further protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchmetrics import MetricCollection

from lasagna.errors import ConfigError
from lasagna.tasks.evaluation.runs import EvaluationRun
from lasagna.tasks.metrics import (
    ConceptF1,
    CounterfactualIoU,
    DialogueMetric,
    FalsePremiseIoU,
    MultiTargetIoU,
    RobustIoU,
    ZeroOneManyIoU,
    collect,
    for_decoding,
)

BENCHMARKS: Mapping[str, type[DialogueMetric]] = {
    "fp-refcoco": FalsePremiseIoU,
    "hallusegbench": CounterfactualIoU,
    "r-refcoco": RobustIoU,
    "ref-zom": ZeroOneManyIoU,
    "sa-co": ConceptF1,
    "mmr": MultiTargetIoU,
    "muse": MultiTargetIoU,
}
"""First letters of the names of data sets, to the metric of their benchmark."""


def metrics_for(run: EvaluationRun) -> MetricCollection:
    """Return the metrics of a run: those of its task, and those of further protocols; or only its own."""
    if only := run.own_metrics():
        return collect(only)
    categories = run.source.manifest.categories
    own = list(run.task.metrics(categories).values())
    metrics = own.copy()
    for decoding in run.decodings:
        further = [*for_decoding(own, run.task.decoding[0], decoding), *run.task.further_metrics(categories, decoding)]
        further += [metric(decoding) for metric in _benchmarks(run) if decoding in metric.decodings]
        known = {(type(metric), getattr(metric, "decoding", "ordered")) for metric in metrics}
        for metric in further:
            # a metric of the task may be one of the further protocols too
            if (key := (type(metric), metric.decoding)) not in known:
                metrics.append(metric)
                known.add(key)
    kept = [metric for metric in metrics if getattr(metric, "decoding", "ordered") in run.decodings]
    named: dict[str, Any] = {f"{type(metric).__name__}_{rank}": metric for rank, metric in enumerate(kept)}
    return MetricCollection(named, compute_groups=False)


def _benchmarks(run: EvaluationRun) -> list[type[DialogueMetric]]:
    """Return the metrics of the benchmark that a data set of phrases or questions is."""
    name, masked = run.source.manifest.name, [kind for kind in run.task.kinds if kind.masks]
    fits = bool(masked) and all(kind.is_phrase for kind in masked)
    return [metric for start, metric in BENCHMARKS.items() if fits and name.startswith(start)]


def check_scores(run: EvaluationRun) -> None:
    """Check that answers of a run can be scored, before there are any.

    Raises:
        ConfigError: If a metric does not fit the data set.
    """
    try:
        metrics_for(run)
    except ConfigError as error:
        raise ConfigError(f"source {run.source.label}: {error}") from error
