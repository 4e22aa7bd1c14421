import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.cli.sweeps.intervals import mean_interval, t_quantile


@given(st.integers(1, 200), st.sampled_from([0.5, 0.8, 0.95, 0.99]))
def test_t_quantile_agrees_with_scipy(freedom, confidence):
    stats = pytest.importorskip("scipy.stats")
    assert t_quantile(confidence, freedom) == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedom), rel=1e-8)


def test_textbook_values():
    assert [round(t_quantile(0.95, freedom), 3) for freedom in (1, 2, 3, 10)] == [12.706, 4.303, 3.182, 2.228]


def test_three_runs():
    interval = mean_interval([0.7, 0.8, 0.9])
    assert interval.mean == pytest.approx(0.8)
    assert interval.half_width == pytest.approx(4.302653 * statistics.stdev([0.7, 0.8, 0.9]) / math.sqrt(3))
    assert interval.count == 3


def test_one_run_has_no_interval():
    interval = mean_interval([0.5])
    assert interval.mean == 0.5
    assert math.isnan(interval.half_width)


def test_equal_runs_have_none_either():
    assert mean_interval([0.5] * 4).half_width == 0


@pytest.mark.parametrize(("confidence", "freedom"), [(0, 3), (1, 3), (0.95, 0)])
def test_bad_arguments(confidence, freedom):
    with pytest.raises(ValueError, match="expected confidence"):
        t_quantile(confidence, freedom)


def test_no_values():
    with pytest.raises(ValueError, match="none"):
        mean_interval([])
