"""An inspection reads each shard once, keeps what it found when it is stopped, and goes on from there."""

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lasagna.cli.inspect import STORE, inspect
from lasagna.datamodules.inspection import reading
from lasagna.datamodules.inspection.store import Store
from lasagna.errors import LasagnaError, OutputError
from tests.helpers.inspected_shards import record, write, write_faulty
from tests.helpers.locked import held_folder


@pytest.fixture
def shards(tmp_path):
    return write_faulty(tmp_path)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def plain_pictures(monkeypatch):
    """Leave out matplotlib, which takes most of the time."""
    drawn = SimpleNamespace(draw_counts=lambda counts, picture: picture.write_bytes(b"counts"))
    monkeypatch.setitem(sys.modules, "lasagna.datamodules.inspection.counts_figure", drawn)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_each_shard_is_read_once(shards, out, monkeypatch):
    opened, open_ = [], io.open

    def counted(file, *args, **options):
        opened.append(str(file))
        return open_(file, *args, **options)

    monkeypatch.setattr(io, "open", counted)
    monkeypatch.setattr(builtins, "open", counted)
    inspect([str(shards)], out, processes=0)
    read = [file for file in opened if file.endswith(".tar")]
    assert len(read) == len(set(read)) == 3


def test_a_stopped_inspection_goes_on_where_it_stopped_with_the_same_report(shards, out, tmp_path, monkeypatch, capsys):
    inspect([str(shards)], tmp_path / "whole", processes=0)
    read = []
    survey = reading.survey_shard

    def interrupted(shard_set, shard, examples):
        read.append(f"{Path(str(shard_set.folder)).name}/{shard.file}")
        if len(read) == stop:
            raise KeyboardInterrupt
        return survey(shard_set, shard, examples)

    monkeypatch.setattr(reading, "survey_shard", interrupted)
    for stop in (2, 4, 0):
        if stop:
            with pytest.raises(KeyboardInterrupt):
                inspect([str(shards)], out, processes=0)
            assert f"what was read is kept in {out / STORE}; the same command goes on" in capsys.readouterr().err
            assert [path.name for path in out.glob("*.json")] == []
        else:
            inspect([str(shards)], out, processes=0)
    assert read == ["train/000000.tar", *2 * ["train/000001.tar"], *2 * ["val/000000.tar"]]
    assert files(out) == files(tmp_path / "whole")


def test_what_was_kept_is_read_again_if_the_shards_or_the_examples_differ(shards, out, monkeypatch):
    def stopped(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("lasagna.cli.inspect.audit_overlap", stopped)
    with pytest.raises(KeyboardInterrupt):
        inspect([str(shards)], out, processes=0)
    write(shards / "val", [record("fresh", 11)])
    monkeypatch.undo()
    inspect([str(shards)], out, examples=1, processes=0)
    found = json.loads((out / "report.json").read_text())["folders"]
    assert [part["records"] for part in found.values()] == [5, 1]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_terminated_inspection_ends_its_processes_and_keeps_what_it_found(out, tmp_path):
    write(tmp_path / "many", [record(f"r{number}", number) for number in range(1500)])
    command = [sys.executable, "-m", "lasagna", "inspect", str(tmp_path / "many"), "--out", str(out), "--processes=2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (out / STORE).exists() and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "stopped" and "Traceback" not in told
    assert [path.name for path in out.iterdir()] == [STORE]


@pytest.mark.parametrize("taken", ["report.html", "report.json", STORE])
def test_a_report_that_cannot_be_written_is_told_before_anything_is_read(shards, out, monkeypatch, taken):
    monkeypatch.setattr("lasagna.cli.inspect.read_folder", lambda *args: pytest.fail("it was read"))
    (out / taken).mkdir(parents=True)
    with pytest.raises(OutputError, match=f"out: {out / taken} is a folder, where a file of the report goes"):
        inspect([str(shards)], out, processes=0)


def test_a_full_disk_and_a_second_inspection_are_one_line(shards, out):
    out.mkdir()
    with held_folder(out), pytest.raises(LasagnaError, match=f"another inspection is writing into {out}"):
        inspect([str(shards)], out, processes=0)
    (out / STORE).write_text("no database at all, but a file of more than a hundred letters, which SQLite looks at" * 2)
    inspect([str(shards)], out, processes=0)
    with pytest.raises(OutputError, match=r"out: .*cannot be written"):
        Store(out / "nowhere" / "file")
