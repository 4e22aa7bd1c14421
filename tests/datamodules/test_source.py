"""A source checks its address and its weight before anything is read."""

from __future__ import annotations

import pytest

from lasagna.datamodules import Source
from lasagna.errors import ConfigError
from tests.helpers.data_fakes import Listing


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("gs://bucket/train", r"unknown scheme 'gs://'.*https://, s3://, or 'pipe:COMMAND'"),
        ("pipe: ", "has no command"),
    ],
)
def test_addresses_of_which_nothing_is_known_are_refused_at_once(address, told):
    with pytest.raises(ConfigError, match=told):
        Source(address, Listing())


def test_a_weight_is_positive():
    with pytest.raises(ValueError, match="`weight` must be positive, got 0"):
        Source("somewhere", Listing(), weight=0)
