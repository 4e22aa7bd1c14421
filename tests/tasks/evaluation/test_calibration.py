import time
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from lasagna.cli.calibration_scores import fit
from lasagna.tasks.evaluation.calibration import (
    calibration_error,
    f1,
    fit_temperature,
    fit_threshold,
    negative_log_likelihood,
    reliability,
    scaled,
)


def drawn(temperature, count=20000, seed=0):
    """Scores that are too sure, or not sure enough, by a known temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, count)
    present = rng.random(count) < 1 / (1 + np.exp(-logits))
    return 1 / (1 + np.exp(-logits * temperature)), present


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_is_found(temperature):
    scores, present = drawn(temperature)
    found = fit_temperature(scores, present)
    assert found == pytest.approx(temperature, rel=0.06)
    after = scaled(scores, found)
    assert negative_log_likelihood(after, present) <= negative_log_likelihood(scores, present)
    assert calibration_error(after, present) < 0.02
    assert np.array_equal(after >= 0.5, scores >= 0.5)


@pytest.mark.parametrize("far", [0.51, 0.6, 0.999])
def test_scores_that_separate_without_a_fault_are_left_as_they_are(far):
    """Any sharper scores would be likelier then, up to the end of the search."""
    present = np.arange(40) % 2 == 0
    scores = np.where(present, far, 1 - far)
    with pytest.warns(UserWarning, match="40 decisions separate present from absent .* it stays 1"):
        found = fit({"scenes": (scores, present)}, "0")
    assert found.temperature == 1.0
    assert found.figures["all"]["f1"] == 1.0


def test_scores_that_do_not_separate_are_scaled_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fit({"scenes": drawn(0.4)}, "0").temperature == pytest.approx(0.4, rel=0.06)


def test_scores_that_tell_nothing_are_told_of():
    scores, present = drawn(1.0)
    with pytest.warns(UserWarning, match=r"hardly better than chance, .* that is tried, 20, "):
        assert fit({"scenes": (1 - scores, present)}, "0").temperature == pytest.approx(20, rel=0.01)


def plain_threshold(scores, present):
    """The rule itself: F1 at the middle of every gap, the widest of the best gaps, of equal ones nearest to 0.5."""
    order = np.unique(np.concatenate([[0.0, 1.0], scores]))
    gaps = [(low + (high - low) / 2, high - low) for low, high in pairwise(order)] + [(0.0, 0.0)]
    best = max(f1(scores, present, place) for place, _ in gaps)
    gaps = [(place, width) for place, width in gaps if f1(scores, present, place) >= best - 1e-12]
    widest = max(width for _, width in gaps)
    return min((place for place, width in gaps if width >= widest - 1e-12), key=lambda place: abs(place - 0.5))


@given(st.lists(st.tuples(st.integers(0, 64), st.booleans()), min_size=1, max_size=60))
def test_the_threshold_is_that_of_trying_every_gap(decisions):
    scores, present = np.array([score / 64 for score, _ in decisions]), np.array([there for _, there in decisions])
    assert fit_threshold(scores, present) == plain_threshold(scores, present)


def test_many_decisions_take_no_time():
    scores, present = drawn(1.0, 40000)
    began = time.process_time()
    fit_threshold(scores, present)
    assert time.process_time() - began < 0.5


def test_likelihood_and_f1_are_those_of_scikit_learn():
    scores, present = drawn(2.0, 300)
    assert negative_log_likelihood(scores, present) == pytest.approx(log_loss(present, scores), rel=1e-6)
    assert f1(scores, present, 0.3) == pytest.approx(f1_score(present, scores >= 0.3))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1, width=16), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_is_better(cases):
    scores, present = np.array([case[0] for case in cases]), np.array([case[1] for case in cases])
    best = f1(scores, present, fit_threshold(scores, present))
    assert all(best >= f1(scores, present, threshold) - 1e-9 for threshold in [*scores, 0.0, 0.5, 1.0])


def test_a_clear_gap_is_cut_in_the_middle():
    scores, present = np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True])
    assert fit_threshold(scores, present) == pytest.approx(0.5)


def test_bins_by_hand():
    scores = np.array([0.05, 0.15, 0.17, 0.95, 1.0])
    means, shares, counts = reliability(scores, np.array([False, True, False, True, True]))
    assert counts.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (means[1], shares[1], shares[9]) == (pytest.approx(0.16), 0.5, 1.0)
    error = calibration_error(scores, np.array([False, True, False, True, True]))
    assert error == pytest.approx((0.05 * 1 + 0.34 * 2 + 0.025 * 2) / 5)
