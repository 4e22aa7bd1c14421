"""A server with the shards of a folder."""

from __future__ import annotations

import pytest

from tests.helpers.data_fakes import write
from tests.helpers.remote_server import Server


@pytest.fixture
def server(tmp_path):
    write(tmp_path / "train", 12)
    with Server(tmp_path).running() as running:
        yield running
