"""Scores over all data sets of a benchmark."""

import math
from types import SimpleNamespace

import pytest

from lasagna.core.record import Manifest
from lasagna.tasks import Concepts, Referring
from lasagna.tasks.evaluation.over_all import over_all
from lasagna.tasks.evaluation.report import named_scores
from lasagna.tasks.evaluation.scoring import EvaluationResult


def result(data_set, task, scores, controls=()):
    source = SimpleNamespace(manifest=Manifest(data_set))
    run = SimpleNamespace(
        name=f"{data_set}-{type(task).__name__}{controls}", source=source, task=task, controls=controls
    )
    return EvaluationResult(run, scores)


def test_subsets_of_saco_gold_are_averaged_for_each_task():
    results = [
        result("sa-co-gold-crowded", Referring(), {"cgf1/sa-co": 10.0, "il_mcc/sa-co": 0.5, "giou/lisa": 0.1}),
        result("sa-co-gold-sa1b", Referring(), {"cgf1/sa-co": 30.0, "il_mcc/sa-co": math.nan}),
        result("sa-co-gold-sa1b", Referring(), {"cgf1/sa-co": 0.0}, ("blind",)),
        result("sa-co-gold-sa1b", Concepts(), {"cgf1/sa-co": 50.0}),
        result("refcoco-unc", Referring(), {"giou/lisa": 0.5}),
    ]
    assert over_all(results) == {"sa-co-gold-referring": {"cgf1/sa-co": 20.0, "il_mcc/sa-co": 0.5}}
    scores = named_scores(results, "test")
    assert scores["test/sa-co-gold-referring/cgf1/sa-co"] == pytest.approx(20) and len(scores) == 10
