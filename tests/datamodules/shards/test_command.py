"""Shards through a command give what shards on disk give, and a failing command is named with its own error."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import pytest

from lasagna.datamodules import RemoteOptions
from lasagna.datamodules.shards.manifest import read_shard_set
from lasagna.datamodules.shards.remote import open_folder
from lasagna.datamodules.shards.transport import RemoteWarning
from lasagna.errors import ShardError
from tests.helpers.data_fakes import write
from tests.helpers.remote_shards import QUICK, SHARD, local, plain, read


@pytest.mark.parametrize("command", ["cat {folder}", "cat {folder}/{{file}}", "cat {folder}/{{file}} | cat"])
def test_shards_through_a_command(tmp_path, command):
    write(tmp_path, 12)
    assert plain(read("pipe:" + command.format(folder=tmp_path))) == local(tmp_path)


def test_a_command_that_breaks_off_continues_where_it_was(tmp_path):
    write(tmp_path / "train", 12)
    script = tmp_path / "torn"
    script.write_text(f'test -e "{tmp_path}/$1.seen" && exec cat "{tmp_path}/train/$1"\ntouch "{tmp_path}/$1.seen"\n')
    with script.open("a") as file:
        file.write(f'head -c 2500 "{tmp_path}/train/$1"; echo first >&2; echo no more >&2; exit 3\n')
    with pytest.warns(RemoteWarning, match="the command exited with status 3: no more"):
        found = read(f"pipe:sh {script} {{file}}")
    assert plain(found) == local(tmp_path / "train")


@pytest.mark.filterwarnings("ignore::lasagna.datamodules.RemoteWarning")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("echo the line is dead >&2; exit 4; true", r"gave up after 4 failed attempts.*status 4: the line is dead"),
        ("no-such-program", r"status 127: .*no-such-program"),
        ("sleep 60; true", r"gave up after 4 failed attempts.*no data for 0\.2 s"),
    ],
)
def test_commands_that_fail_are_reported(command, told):
    began = time.monotonic()
    with pytest.raises(ShardError, match=told):
        read(f"pipe:{command}", RemoteOptions(retries=3, wait=0, timeout=0.2 if "sleep" in command else 5))
    assert time.monotonic() - began < 20


S3_ERROR = "fatal error: An error occurred (404) when calling the HeadObject operation: Key {} does not exist"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("cat nowhere", r"status 1: cat: .*No such file"),
        ("cat nowhere/{file} | cat", r"sent nothing: cat: .*No such file"),
        ("echo curl: '(22) The requested URL returned error: 404' >&2; exit 22; true", r"status 22: .*404"),
        ("echo CommandException: No URLs matched: >&2; exit 1; true", r"status 1: .*No URLs matched"),
        ("echo 'fatal error: (AccessDenied) when calling GetObject' >&2; exit 1; true", r"status 1: .*AccessDenied"),
    ],
)
def test_what_is_missing_behind_a_command_ends_at_once(tmp_path, command, told):
    write(tmp_path, 12)
    with warnings.catch_warnings(), pytest.raises(ShardError, match=told) as error:
        warnings.simplefilter("error")
        read(f"pipe:{command}")
    assert "attempts" not in str(error.value)
    shard = read_shard_set(open_folder(str(tmp_path))).shards[0]
    with open_folder(f"pipe:{command}", QUICK).open(shard) as stream, pytest.raises(OSError, match=told):
        stream.read()


def test_a_missing_object_in_a_bucket_ends_at_once(tmp_path, monkeypatch):
    write(tmp_path / "bucket" / "train", 7)
    (tmp_path / "bucket" / "train" / "000001.tar").unlink()
    fake_aws(tmp_path, monkeypatch)
    with warnings.catch_warnings(), pytest.raises(ShardError, match=r"000001\.tar: .*status 1: .*\(404\)"):
        warnings.simplefilter("error")
        read("s3://bucket/train")
    assert len((tmp_path / "asked").read_text().splitlines()) == 3


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
    path = f'"{folder}/$(echo "$3" | cut -c6-)"'
    missing = f'{{ echo "{S3_ERROR.format("$3")}" >&2; exit 1; }}'
    script.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\ntest -e {path} || {missing}\ncat {path}\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")


def test_buckets_are_read_through_the_aws_command(tmp_path, monkeypatch):
    write(tmp_path / "bucket" / "some" / "train", 7)
    fake_aws(tmp_path, monkeypatch)
    assert plain(read("s3://bucket/some/train")) == local(tmp_path / "bucket" / "some" / "train")
    asked = (tmp_path / "asked").read_text().splitlines()
    files = ["manifest.json", SHARD, "000001.tar"]
    assert asked == [f"s3 cp s3://bucket/some/train/{file} -" for file in files]


def test_a_missing_aws_command_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ShardError, match=r"s3://bucket/train/manifest\.json.*there is no program 'aws'; install it"):
        read("s3://bucket/train")


def test_names_of_a_manifest_from_elsewhere_run_nothing(tmp_path):
    write(tmp_path, 3)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text())
    data["shards"][0]["file"] = f"000000.tar; touch {tmp_path.name}"
    path.write_text(json.dumps(data))
    with pytest.raises(ShardError, match="has other characters than"):
        read(f"pipe:cd {tmp_path}; cat {{file}}")
    assert not (tmp_path / tmp_path.name).exists()
