"""Failed attempts are repeated within bounds, and what arrives is compared with the checksum."""

from __future__ import annotations

import time
import warnings

import pytest

from lasagna.datamodules import RemoteOptions
from lasagna.datamodules.shards.manifest import read_shard_set
from lasagna.datamodules.shards.remote import open_folder
from lasagna.datamodules.shards.transport import RemoteWarning, RetryingStream
from lasagna.errors import ConfigError, ShardError
from tests.helpers.remote_shards import QUICK, SHARD, local, plain, read


def test_waits_grow_and_their_number_is_bounded(server, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.faults[SHARD] = [503] * 99
    with pytest.warns(RemoteWarning), pytest.raises(ShardError) as fault:
        read(f"{server.address}/train", RemoteOptions(retries=8, wait=1.0))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(server.requests(SHARD)) == 9
    for part in (f"{server.address}/train/{SHARD}", "gave up after 9 failed attempts", "503", "remote.retries"):
        assert part in str(fault.value)


def test_what_comes_begins_the_count_anew(server, tmp_path):
    server.faults[SHARD] = [("drop", 500)] * 12
    with pytest.warns(RemoteWarning):
        assert plain(read(f"{server.address}/train", RemoteOptions(retries=1, wait=0))) == local(tmp_path / "train")
    assert len(server.requests(SHARD)) == 13


def test_a_connection_that_ended_while_no_one_read_is_no_failure(server, tmp_path, monkeypatch):
    server.faults[SHARD] = [("drop", 3000)]
    folder = open_folder(f"{server.address}/train", RemoteOptions(retries=0))
    shard, clock = read_shard_set(folder).shards[0], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with RetryingStream(folder.transport, shard, folder.options) as stream:
        found = stream.read(3000)
        while len(found) < 3000:
            found += stream.read(3000 - len(found))
        clock[0] = 60.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert found + stream.read() == (tmp_path / "train" / SHARD).read_bytes()
    server.faults[SHARD] = [("drop", 3000)]
    with RetryingStream(folder.transport, shard, folder.options) as stream, pytest.raises(OSError, match="gave up"):
        stream.read()


def test_another_shard_of_the_same_size_is_found_by_its_checksum(server, tmp_path):
    path = tmp_path / "train" / SHARD
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ShardError, match=r"000000\.tar: the shard cannot be read \(expected sha256 .*changed"):
        read(f"{server.address}/train")


def test_a_shard_that_is_replaced_while_it_is_read_is_found(server, tmp_path):
    path = tmp_path / "train" / SHARD
    server.faults[SHARD] = [("drop", 3000)]
    folder = open_folder(f"{server.address}/train", QUICK)
    shard = read_shard_set(folder).shards[0]
    with pytest.warns(RemoteWarning), folder.open(shard) as stream, pytest.raises(OSError, match="expected sha256"):
        stream.read(100)
        path.write_bytes(path.read_bytes()[:5000][::-1] + path.read_bytes()[5000:])
        stream.read()


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"wait": -1.0}, {"timeout": 0.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="`retries` and `wait` must be at least 0 and `timeout` positive"):
        RemoteOptions(**wrong)
