"""The shards of two sources."""

from __future__ import annotations

import pytest

from tests.helpers.data_fakes import write


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    write(folder / "a", 11, per_shard=3, prefix="a", name="a")
    write(folder / "b", 5, per_shard=2, prefix="b", name="b")
    return folder
