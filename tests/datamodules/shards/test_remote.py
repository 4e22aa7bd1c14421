"""Shards behind an address or a command give what shards on disk give, whatever the connection does."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import pytest

from lasagna.datamodules import RemoteOptions, ShardDataModule, Source, read_manifest
from lasagna.datamodules.shards.manifest import read_shard_set
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.shards.remote import open_folder, refuse_commands
from lasagna.datamodules.shards.transport import RemoteWarning
from lasagna.errors import ConfigError, ShardError
from tests.helpers.data_fakes import Listing, processors, write
from tests.helpers.remote_server import Server

QUICK = RemoteOptions(retries=3, wait=0.001, timeout=5)
SHARD = "000000.tar"


@pytest.fixture
def server(tmp_path):
    write(tmp_path / "train", 12)
    with Server(tmp_path).running() as running:
        yield running


def read(address, options=QUICK):
    shard_set = read_shard_set(open_folder(address, options))
    return list(read_share(shard_set, shard_set.shards, ShardSplit()))


def plain(samples):
    return [{name: value for name, value in sample.items() if name != "__url__"} for sample in samples]


def local(folder):
    shard_set = read_manifest(folder)
    return plain(read_share(shard_set, shard_set.shards, ShardSplit()))


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
def test_a_dropped_connection_goes_on_where_it_was(tmp_path, ranges, sent):
    write(tmp_path / "train", 12)
    with Server(tmp_path, ranges).running() as server:
        server.faults[SHARD] = [("drop", sent), None]
        server.faults["000001.tar"] = [("drop", 2000), ("drop", 1000 if ranges else 3000), ("drop", 0)]
        with pytest.warns(RemoteWarning, match=rf"000000\.tar: it broke off after {sent} of \d+ bytes; trying again"):
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


def test_waits_grow_and_their_number_is_bounded(server, monkeypatch):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    server.faults[SHARD] = [503] * 99
    with pytest.warns(RemoteWarning), pytest.raises(ShardError) as fault:
        read(f"{server.address}/train", RemoteOptions(retries=8, wait=1.0))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(server.requests(SHARD)) == 9
    for part in (f"{server.address}/train/{SHARD}", "gave up after 9 tries", "503", "remote.retries"):
        assert part in str(fault.value)


def test_what_comes_begins_the_count_anew(server, tmp_path):
    server.faults[SHARD] = [("drop", 500)] * 12
    with pytest.warns(RemoteWarning):
        assert plain(read(f"{server.address}/train", RemoteOptions(retries=1, wait=0))) == local(tmp_path / "train")
    assert len(server.requests(SHARD)) == 13


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
def test_nobody_at_the_address(server):
    address = server.address.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(ShardError, match=r"127\.0\.0\.2.*gave up after 4 tries.*refused"):
        read(f"{address}/train")


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


def test_sizes_are_compared_before_anything_runs(server, tmp_path):
    for rank, change in enumerate([lambda content: content[:-512], lambda content: content + b"x", None]):
        path = tmp_path / "train" / f"00000{rank}.tar"
        path.write_bytes(change(path.read_bytes())) if change else path.unlink()
    data = ShardDataModule(test=[Source(f"{server.address}/train", Listing(), remote=QUICK)])
    with pytest.raises(ShardError) as fault:
        data.setup("test")
    lines = str(fault.value).splitlines()
    assert [line.partition("train/")[2][:10] for line in lines] == [f"00000{rank}.tar" for rank in range(3)]
    assert "is truncated" in lines[0]
    assert "is not what was written" in lines[1]
    assert "HTTP Error 404" in lines[2]
    assert not server.requests(SHARD)


def test_a_server_that_tells_no_sizes_is_believed(server):
    server.sizes = False
    folder = open_folder(f"{server.address}/train", QUICK)
    assert read_shard_set(folder).faults() == []


def test_what_stands_behind_a_question_mark_is_sent_and_not_shown(server):
    folder = open_folder(f"{server.address}/train?key=secret", QUICK)
    assert "secret" not in f"{folder} {folder.place(SHARD)}"
    assert len(read(f"{server.address}/train?key=secret")) == 12
    assert {path.partition("?")[2] for _, path, _ in server.asked} == {"key=secret"}


@pytest.mark.parametrize("command", ["cat {folder}", "cat {folder}/{{file}}", "cat {folder}/{{file}} | cat"])
def test_shards_through_a_command(tmp_path, command):
    write(tmp_path, 12)
    assert plain(read("pipe:" + command.format(folder=tmp_path))) == local(tmp_path)


def test_a_command_that_breaks_off_goes_on_where_it_was(tmp_path):
    write(tmp_path / "train", 12)
    script = tmp_path / "torn"
    script.write_text(f'test -e "{tmp_path}/$1.seen" && exec cat "{tmp_path}/train/$1"\ntouch "{tmp_path}/$1.seen"\n')
    with script.open("a") as file:
        file.write(f'head -c 2500 "{tmp_path}/train/$1"; echo first >&2; echo no more >&2; exit 3\n')
    with pytest.warns(RemoteWarning, match="the command ended with status 3: no more"):
        found = read(f"pipe:sh {script} {{file}}")
    assert plain(found) == local(tmp_path / "train")


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("cat nowhere", r"gave up after 4 tries.*status 1: cat: .*No such file"),
        ("no-such-program", r"status 127: .*no-such-program"),
        ("sleep 60; true", r"gave up after 4 tries.*nothing came for 0\.2 s"),
    ],
)
def test_commands_that_fail_are_told(command, told):
    began = time.monotonic()
    with pytest.raises(ShardError, match=told):
        read(f"pipe:{command}", RemoteOptions(retries=3, wait=0, timeout=0.2 if "sleep" in command else 5))
    assert time.monotonic() - began < 20


def test_a_command_that_is_no_longer_read_ends(tmp_path):
    write(tmp_path, 12)
    folder = open_folder(f"pipe:cat {tmp_path}/{{file}}; echo $$ > {tmp_path}/pid; sleep 60", QUICK)
    shard = read_shard_set(open_folder(str(tmp_path))).shards[0]
    with folder.open(shard) as stream:
        assert stream.read(10)
        while not (tmp_path / "pid").is_file():
            time.sleep(0.01)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def fake_aws(folder, monkeypatch):
    """Put a program ``aws`` first on the path that reads a bucket from a folder and notes what it was asked."""
    script = folder / "bin" / "aws"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\ncat "{folder}/$(echo "$3" | cut -c6-)"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")


def test_buckets_are_read_through_the_aws_command(tmp_path, monkeypatch):
    write(tmp_path / "bucket" / "some" / "train", 7)
    fake_aws(tmp_path, monkeypatch)
    assert plain(read("s3://bucket/some/train")) == local(tmp_path / "bucket" / "some" / "train")
    asked = (tmp_path / "asked").read_text().splitlines()
    files = ["manifest.json", SHARD, "000001.tar"]
    assert asked == [f"s3 cp s3://bucket/some/train/{file} -" for file in files]


def test_a_missing_aws_command_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ShardError, match=r"s3://bucket/train/manifest\.json.*there is no program 'aws'; install it"):
        read("s3://bucket/train")


def test_names_of_a_manifest_from_elsewhere_run_nothing(tmp_path):
    write(tmp_path, 3)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text())
    data["shards"][0]["file"] = f"000000.tar; touch {tmp_path.name}"
    path.write_text(json.dumps(data))
    with pytest.raises(ShardError, match="has other letters than"):
        read(f"pipe:cd {tmp_path}; cat {{file}}")
    assert not (tmp_path / tmp_path.name).exists()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("gs://bucket/train", r"nothing is known about 'gs://'.*https://, s3://, or 'pipe:COMMAND'"),
        ("pipe: ", "has no command"),
    ],
)
def test_addresses_of_which_nothing_is_known_are_refused_at_once(address, told):
    with pytest.raises(ConfigError, match=told):
        Source(address, Listing())


@pytest.mark.parametrize("wrong", [{"retries": -1}, {"wait": -1.0}, {"timeout": 0.0}])
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="`retries` and `wait` must be at least 0 and `timeout` positive"):
        RemoteOptions(**wrong)


def test_a_cache_keeps_whole_shards(server, tmp_path):
    cache = tmp_path / "cache"
    options = RemoteOptions(retries=1, wait=0, cache=str(cache))
    first = read(f"{server.address}/train", options)
    assert plain(first) == plain(read(f"{server.address}/train", options)) == local(tmp_path / "train")
    assert len(server.requests(SHARD)) == 1
    kept = sorted(cache.iterdir())
    assert [path.suffix for path in kept] == [".tar"] * 3
    kept[0].write_bytes(b"")
    assert plain(read(f"{server.address}/train", options)) == local(tmp_path / "train")
    assert sum(len(server.requests(f"00000{rank}.tar")) for rank in range(3)) == 4


def test_a_cache_keeps_nothing_that_is_broken(server, tmp_path):
    path = tmp_path / "train" / SHARD
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(ShardError, match=r"000000\.tar: the shard cannot be read \(expected sha256"):
        read(f"{server.address}/train", RemoteOptions(retries=0, cache=str(tmp_path / "cache")))
    assert not list((tmp_path / "cache").iterdir())


def loader(address, workers):
    data = ShardDataModule(
        train=[Source(address, Listing(), remote=QUICK)],
        batch_size=2,
        num_workers=workers,
        shuffle_buffer=4,
        samples_per_epoch=24,
    )
    data.connect(processors())
    return data.train_dataloader()


def keys(batches):
    return [[sample.key for sample in batch.samples] for batch in batches]


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_order_and_exact_resume_are_those_of_shards_on_disk(server, tmp_path, workers):
    whole = keys(loader(str(tmp_path / "train"), workers))
    address = f"{server.address}/train"
    server.faults[SHARD] = [None, ("drop", 4000), 503, None, ("drop", 700)]
    first = loader(address, workers)
    batches = iter(first)
    head = keys(next(batches) for _ in range(5))
    state = first.state_dict()
    again = loader(address, workers)
    again.load_state_dict(state)
    assert head + keys(again) == whole


def test_data_of_a_checkpoint_runs_no_command():
    config = {"init_args": {"train": [{"shards": "data/x"}, {"shards": "pipe:date"}]}}
    with pytest.raises(ConfigError, match=r"the checkpoint names shards .* 'pipe:date', which is not run.*--data"):
        refuse_commands(config, "the checkpoint", "--data")
    refuse_commands({"init_args": {"train": [{"shards": "s3://bucket/x"}], "val": None}}, "the checkpoint", "--data")
