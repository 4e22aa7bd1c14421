"""Shards that are missing or of another size are found without reading them."""

from __future__ import annotations

import pytest

from lasagna.errors import ShardError
from tests.helpers.data_fakes import write


def test_all_faulty_shards_are_named_together(tmp_path):
    shard_set = write(tmp_path, 20)
    (tmp_path / "000000.tar").unlink()
    (tmp_path / "000001.tar").write_bytes(b"")
    content = (tmp_path / "000002.tar").read_bytes()
    (tmp_path / "000002.tar").write_bytes(content[:-512])
    with pytest.raises(ShardError) as fault:
        shard_set.check()
    lines = str(fault.value).splitlines()
    assert len(lines) == 3
    assert "000000.tar: the shard is missing" in lines[0]
    assert "000001.tar: the shard is empty" in lines[1]
    assert "000002.tar: the shard is truncated" in lines[2]
    assert all("copy or write the data again" in line for line in lines)
