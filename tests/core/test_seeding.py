import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.seeding import check_seed, generator
from lasagna.errors import ConfigError


def draws(*key):
    return generator(*key).integers(0, 2**62, 4).tolist()


@given(st.integers(), st.integers(0, 100), st.text())
def test_the_same_key_draws_the_same(seed, epoch, key):
    assert draws(seed, epoch, key) == draws(seed, epoch, key)


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.text()),
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.text()),
)
def test_different_keys_draw_differently(one, other):
    assert (draws(*one) == draws(*other)) == (one == other)


def test_keys_do_not_run_together():
    assert draws(1, 12, "3") != draws(11, 2, "3")
    assert draws(1, 2, "3/x") != draws(1, 23, "/x")


def test_draws_stay_the_same_between_versions():
    assert generator(0, 0, "record").integers(0, 1000, 4).tolist() == [67, 717, 837, 831]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_global_seed_that_is_out_of_range(seed):
    for fine in (0, 2**32 - 1, True, False, None):
        check_seed(fine)
    with pytest.raises(ConfigError, match=r"seed_everything: expected a whole number from 0 to 4294967295, got"):
        check_seed(seed)
