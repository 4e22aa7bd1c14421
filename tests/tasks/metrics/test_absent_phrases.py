"""Scores of phrases that may fit nothing equal the rules of their benchmarks, worked out over sets of pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.core.answer import Answer
from lasagna.core.batch import Sample
from lasagna.tasks import Referring
from lasagna.tasks.metrics import FalsePremiseIoU, RobustIoU, ZeroOneManyIoU, collect
from tests.helpers.made_answers import answer, dialogue

SIZE = (4, 5)


def random_phrase(rng, text):
    truth = rng.random(SIZE) < 0.5 if rng.random() < 0.6 else None
    claim = rng.random(SIZE) < rng.choice([0.0, 0.1, 0.5]) if rng.random() < 0.7 else None
    group = f"thing {rng.integers(3)}"
    return replace(dialogue([text], {text: truth}, kind="referring"), group=group), answer({text: claim})


def rows_of(cases):
    """Object, whether the phrase fits it, whether it is called so, and the true and answered pixels."""
    for asked, answered in cases:
        [entry], [claim] = asked.entries, answered.entries
        masks = (entry.mask.decode() if entry.present else np.zeros(SIZE, bool), claim.mask)
        truth, found = (set() if mask is None else set(zip(*np.nonzero(mask), strict=True)) for mask in masks)
        yield asked.group, entry.present, claim.present, truth, found


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else np.nan


def iou_of(pairs):
    intersection, union = (sum(len(change(*pair)) for pair in pairs) for change in (set.__and__, set.__or__))
    return intersection / union if union else np.nan


def iou(truth, found):
    return len(truth & found) / len(truth | found) if truth | found else 0.0


def plain_scores(cases):
    rows = list(rows_of(cases))
    fitting = [row for row in rows if row[1]]
    by_object = {name: [row for row in rows if row[0] == name] for name in {row[0] for row in rows}}
    parts = [([row for row in part if row[1]], [row for row in part if not row[1]]) for part in by_object.values()]
    robust = []
    for true, wrong in parts:
        if true:
            union = sum(len(truth | found) for *_, truth, found in true) + sum(len(row[4]) for row in wrong)
            robust.append(sum(len(truth & found) for *_, truth, found in true) / max(1, union))
    return {
        "see/sesame": mean(row[1] == row[2] for row in rows),
        "ciou/sesame": iou_of([row[3:] for row in rows]),
        "ciou/ref-zom": iou_of([row[3:] for row in fitting]),
        "giou/ref-zom": mean(iou(*row[3:]) for row in fitting),
        "image_accuracy/ref-zom": mean(not row[4] for row in rows if not row[1]),
        "miou_objects/r-ris": mean(mean(iou(*row[3:]) for row in true) for true, _ in parts if true),
        "ciou/r-ris": iou_of([row[3:] for row in fitting]),
        "riou/r-ris": mean(robust),
        "rejection/r-ris": mean(mean(not row[4] for row in wrong) for _, wrong in parts if wrong),
    }


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_equal_the_rules_of_the_benchmarks(seed, phrases):
    rng = np.random.default_rng(seed)
    cases = [random_phrase(rng, f"phrase {rank}") for rank in range(phrases)]
    metrics = collect([FalsePremiseIoU(), ZeroOneManyIoU(), RobustIoU()])
    samples = [Sample("made", "one", 0, asked) for asked, _ in cases]
    Referring().score(metrics, samples, [answered for _, answered in cases])
    found = {key: value.item() for key, value in metrics.compute().items()}
    assert found == pytest.approx(plain_scores(cases), nan_ok=True, abs=1e-6)


def test_phrases_about_objects_of_other_records_are_others():
    full, nothing = np.ones(SIZE, bool), np.zeros(SIZE, bool)
    true, wrong = (replace(dialogue(["x"], {"x": mask}, kind="referring"), group="1") for mask in (full, None))
    answers = [answer({"x": full}), answer({"x": full})]
    for keys, riou in ((("a", "a"), 0.5), (("a", "b"), 1.0)):
        metrics = collect([RobustIoU()])
        samples = [Sample("made", key, 0, asked) for key, asked in zip(keys, (true, wrong), strict=True)]
        Referring().score(metrics, samples, answers)
        assert metrics.compute()["riou/r-ris"].item() == pytest.approx(riou)
    metrics = collect([RobustIoU()])
    Referring().score(metrics, samples, [Answer(""), answer({"x": nothing})])
    assert metrics.compute()["rejection/r-ris"].item() == 1
