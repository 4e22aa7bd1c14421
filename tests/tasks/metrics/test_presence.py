import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, matthews_corrcoef, precision_recall_fscore_support, roc_auc_score

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.tasks.metrics import Presence, PresenceByLength
from lasagna.tasks.metrics.presence import area, presence_counts, presence_scores, score_bins
from tests.helpers.made_answers import answer, dialogue, pixels, random_case

NAMES = ("sky", "sea", "dog", "cat", "sun")
DOT = pixels("#")


def plain_rows(cases):
    """One (present, called) pair a name."""
    rows = []
    for asked, answered in cases:
        for name in asked.query:
            present = any(entry.name == name and entry.present for entry in asked.entries)
            called = any(entry.name == name and entry.present for entry in answered.entries)
            rows.append((present, called))
    return rows


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_equals_scikit_learn(seed, images):
    rng = np.random.default_rng(seed)
    cases = [random_case(rng, NAMES) for _ in range(images)]
    metric = Presence()
    for asked, answered in cases:
        metric.update(asked, answered)
    present, called = zip(*plain_rows(cases), strict=True)
    scored = [({entry.name: entry.score for entry in answered.entries}, asked.query) for asked, answered in cases]
    scores = [found.get(name, 0.0) for found, query in scored for name in query]
    precision, recall, f1, _ = precision_recall_fscore_support(
        present, called, average="binary", pos_label=True, zero_division=np.nan
    )
    (rejections, alarms), _ = confusion_matrix(present, called, labels=[False, True])
    found = {key: value.item() for key, value in metric.compute().items()}
    assert found == pytest.approx(
        {
            "presence_precision/lasagna-v1": precision,
            "presence_recall/lasagna-v1": recall,
            "presence_f1/lasagna-v1": f1,
            "false_positive_rate/lasagna-v1": alarms / (alarms + rejections) if alarms + rejections else np.nan,
            "il_mcc/lasagna-v1": matthews_corrcoef(present, called),
            "presence_auroc/lasagna-v1": roc_auc_score(present, scores) if len(set(present)) > 1 else np.nan,
        },
        nan_ok=True,
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2))
def test_area_under_the_curve_of_any_scores(rows):
    present, scores = zip(*rows, strict=True)
    bins = score_bins(scores)
    found = area(
        torch.stack([torch.bincount(bins[torch.tensor(present) == there], minlength=2001) for there in (0, 1)])
    )
    # what falls into one bin is not told apart
    wanted = roc_auc_score(present, bins) if len(set(present)) > 1 else np.nan
    assert found.item() == pytest.approx(wanted, nan_ok=True)
    # scores of broken weights, and of answers of one's own
    assert score_bins([np.nan, -1.0, 2.0]).tolist() == [0, 0, 2000]
    assert score_bins([0.0, 0.5, 1.0]).tolist() == [0, 1000, 2000] and score_bins([0.5, 0.51]).diff() > 0


def test_counted_by_hand_with_names_left_out_and_borrowed():
    asked = dialogue(["sky", "sea", "dog", "cat", "unicorn"], {"sky": DOT, "sea": DOT, "cat": None})
    answered = answer({"SKY": DOT, "dog": DOT, "cat": None, "kite": DOT})
    # sky found, sea left out, dog and nothing else invented; cat and unicorn are absent and not called
    assert presence_counts(asked, answered) == (1, 1, 1, 2)


@pytest.mark.parametrize("first", [True, False])
def test_of_a_repeated_name_the_first_counts(first):
    entries = (AnsweredEntry("dog", first, 0.5, DOT), AnsweredEntry("Dog", not first, 0.5, DOT))
    counts = presence_counts(dialogue(["dog"], {"dog": DOT}), Answer("", entries))
    assert counts == ((1, 0, 0, 0) if first else (0, 0, 1, 0))


def test_an_empty_answer_claims_nothing():
    assert presence_counts(dialogue(["sky", "dog"], {"sky": DOT}), Answer("")) == (0, 0, 1, 1)


def test_nothing_to_measure_is_nan():
    scores = presence_scores(torch.tensor([0, 0, 0, 3]))
    assert scores["false_positive_rate"] == 0
    assert all(scores[name].isnan() for name in ("presence_precision", "presence_recall", "presence_f1"))


def test_lengths_are_scored_apart():
    metric = PresenceByLength([1, 3], decoding="free")
    metric.update(dialogue(["sky"], {"sky": DOT}), answer({"sky": DOT}))
    metric.update(dialogue(["sky", "sea", "dog"], {"sky": DOT, "sea": DOT}), answer({"sky": DOT}))
    metric.update(dialogue(NAMES, {"sky": DOT}), answer({"sea": DOT}))
    scores = {key: value.item() for key, value in metric.compute().items()}
    assert metric.groups == ("names-1-1", "names-2-3", "names-4-up")
    assert scores["presence_recall/lasagna-v1/free/names-1-1"] == 1
    assert scores["presence_recall/lasagna-v1/free/names-2-3"] == 0.5
    assert scores["presence_recall/lasagna-v1/free/names-4-up"] == 0
    assert scores["false_positive_rate/lasagna-v1/free/names-4-up"] == 0.25
    assert np.isnan(scores["false_positive_rate/lasagna-v1/free/names-1-1"])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_lengths_add_up_to_all(seed, images):
    rng = np.random.default_rng(seed)
    apart, whole = PresenceByLength([2, 4]), Presence()
    for _ in range(images):
        case = random_case(rng, NAMES)
        apart.update(*case)
        whole.update(*case)
    assert apart.counts.sum(0).tolist() == whole.counts.tolist()


@pytest.mark.parametrize("lengths", [[], [0, 3], [4, 4], [8, 4]])
def test_lengths_must_ascend(lengths):
    with pytest.raises(ValueError, match=r"lengths: .* must be whole numbers from 1, ascending"):
        PresenceByLength(lengths)
