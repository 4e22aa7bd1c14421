"""Shards behind a URL give what shards on disk give, whatever the connection does."""

from __future__ import annotations

import warnings

import pytest

from lasagna.datamodules import RemoteOptions
from lasagna.datamodules.shards.manifest import read_shard_set
from lasagna.datamodules.shards.remote import open_folder
from lasagna.datamodules.shards.transport import RemoteWarning
from lasagna.errors import ConfigError, ShardError
from tests.helpers.data_fakes import write
from tests.helpers.remote_server import Server
from tests.helpers.remote_shards import QUICK, SHARD, local, plain, read


def test_shards_behind_an_address_are_those_on_disk(server, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read(f"{server.address}/train/")
    assert plain(found) == local(tmp_path / "train")
    assert found[0]["__url__"] == f"{server.address}/train/{SHARD}"
    assert [server.requests(f"00000{rank}.tar") for rank in range(3)] == [[None]] * 3


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("sent", [0, 1, 700, 5000])
def test_a_dropped_connection_continues_where_it_was(tmp_path, ranges, sent):
    write(tmp_path / "train", 12)
    with Server(tmp_path, ranges).running() as server:
        server.faults[SHARD] = [("drop", sent), None]
        server.faults["000001.tar"] = [("drop", 2000), ("drop", 1000 if ranges else 3000), ("drop", 0)]
        with pytest.warns(
            RemoteWarning, match=rf"000000\.tar: the transfer stopped after {sent} of \d+ bytes; retrying"
        ):
            found = read(f"{server.address}/train")
        assert plain(found) == local(tmp_path / "train")
        assert server.requests(SHARD) == [None, f"bytes={sent}-" if sent else None]
        assert server.requests("000001.tar") == [None, "bytes=2000-", "bytes=3000-", "bytes=3000-"]


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
@pytest.mark.parametrize("error", [503, 500, 429, ("cut", 0), ("cut", 3000), "stall"])
@pytest.mark.parametrize("file", [SHARD, "manifest.json"])
def test_what_passes_is_waited_for(server, tmp_path, error, file):
    server.faults[file] = [error, error] if file == SHARD or error not in (("cut", 0), ("cut", 3000)) else []
    options = RemoteOptions(retries=2, wait=0.001, timeout=0.3 if error == "stall" else 5)
    assert plain(read(f"{server.address}/train", options)) == local(tmp_path / "train")


@pytest.mark.parametrize("status", [404, 403])
def test_what_is_refused_is_not_asked_for_again(server, status):
    server.faults["000001.tar"] = [status]
    with pytest.raises(ShardError, match=rf"train/000001\.tar: the shard cannot be read \(HTTP Error {status}"):
        read(f"{server.address}/train")
    assert server.requests("000001.tar") == [None]
    with pytest.raises(ShardError, match=r"nowhere/manifest\.json: the manifest cannot be read \(HTTP Error 404"):
        read(f"{server.address}/nowhere")
    assert len(server.requests("nowhere/manifest.json")) == 1


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
def test_no_server_at_the_address(server):
    address = server.address.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(ShardError, match=r"127\.0\.0\.2.*gave up after 4 failed attempts.*refused"):
        read(f"{address}/train")


def test_a_server_without_sizes_is_accepted(server):
    server.sizes = False
    folder = open_folder(f"{server.address}/train", QUICK)
    assert read_shard_set(folder).errors() == []


def test_a_password_is_sent_and_not_shown(server):
    address = server.address.replace("://", "://me:pass%21word@")
    folder = open_folder(f"{address}/train", QUICK)
    assert "word" not in f"{folder} {folder.location(SHARD)}"
    assert len(read(f"{address}/train")) == 12
    assert set(server.authorised) == {"Basic bWU6cGFzcyF3b3Jk"}
    with pytest.raises(ShardError) as missing:
        read(f"{address}/nowhere")
    assert "word" not in str(missing.value)


@pytest.mark.parametrize("address", ["gs://me:password@bucket?password", "pipe:cat https://me:password@a.org; false"])
def test_errors_hide_passwords(address):
    with pytest.raises((ShardError, ConfigError)) as told:
        read(address, RemoteOptions(retries=0))
    assert "password" not in str(told.value)
    assert "://***@" in str(told.value)


def test_what_stands_behind_a_question_mark_is_sent_and_not_shown(server):
    folder = open_folder(f"{server.address}/train?key=secret", QUICK)
    assert "secret" not in f"{folder} {folder.location(SHARD)}"
    assert len(read(f"{server.address}/train?key=secret")) == 12
    assert {path.partition("?")[2] for _, path, _ in server.asked} == {"key=secret"}
