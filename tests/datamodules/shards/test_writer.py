"""Shards are written whole, in the same bytes again, and faults are found before anything is read."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np
import pytest

from lasagna.core.locks import BusyError
from lasagna.core.record import Manifest, Record
from lasagna.datamodules import read_manifest, write_parallel, write_shards
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.errors import ConfigError, RecordError, ShardError
from tests.helpers.data_fakes import MANIFEST, NAMES, png, record, write
from tests.helpers.locked import held_folder


def read(shard_set):
    return [decode_record(raw, shard_set.manifest) for raw in read_share(shard_set, shard_set.shards, ShardSplit())]


def test_what_is_written_is_read_again(tmp_path):
    records = [record(index) for index in range(12)]
    written = write_shards(records, tmp_path, MANIFEST, total=12, records_per_shard=5, settings={"seed": 3})
    found = read_manifest(tmp_path)
    assert found == written
    assert (found.manifest, found.settings, found.records) == (MANIFEST, {"seed": 3}, 12)
    assert [shard.records for shard in found.shards] == [5, 5, 2]
    assert read(found) == records
    found.check()
    found.verify()


def test_keys_with_dots_and_slashes_come_back(tmp_path):
    keys = ["a/b.c", "a/b.d", "../up", ".hidden", "two words", "ünï", "x%2Ey", "__meta__", "k" * 300]
    records = [type(record(0))(key, record(0).image_bytes, (9, 12), MANIFEST) for key in keys]
    assert [item.key for item in read(write_shards(records, tmp_path, MANIFEST))] == keys


def test_the_same_records_give_the_same_bytes_from_any_number_of_processes(tmp_path):
    one = write(tmp_path / "one", 12)
    make = partial(record, prefix="r")
    for processes in (0, 2):
        other = write_parallel(make, 12, tmp_path / str(processes), MANIFEST, processes=processes, records_per_shard=5)
        assert other.shards == one.shards
    again = sha256((tmp_path / "0" / "000001.tar").read_bytes()).hexdigest()
    assert again == one.shards[1].sha256


def test_shards_are_bounded_by_bytes_as_well(tmp_path):
    one = write(tmp_path / "one", 12, per_shard=12)
    made = partial(record, prefix="r")
    parts = write_parallel(
        made,
        12,
        tmp_path / "parts",
        MANIFEST,
        processes=2,
        records_per_shard=12,
        bytes_per_shard=one.shards[0].bytes // 4,
    )
    assert [shard.records for shard in parts.shards] == [4, 4, 4]
    assert read(parts) == read(one)
    parts.verify()
    with pytest.raises(ConfigError, match="`bytes_per_shard` must be at least 1, got 0"):
        write_shards([record(0)], tmp_path / "none", MANIFEST, bytes_per_shard=0)


def test_a_stopped_write_continues_with_shards_that_are_bounded_by_bytes(tmp_path):
    calls, limits = [], {"processes": 0, "records_per_shard": 50, "bytes_per_shard": 4000, "settings": {"seed": 1}}
    whole = write_parallel(partial(failing, calls=[], stop=None), 12, tmp_path / "whole", MANIFEST, **limits)
    with pytest.raises(KeyboardInterrupt):
        write_parallel(partial(failing, calls=[], stop=9), 12, tmp_path / "torn", MANIFEST, **limits)
    done = sum(shard.records for shard in read_manifest(tmp_path / "torn", "unfinished.json").shards)
    assert not list((tmp_path / "torn").glob("*.part"))
    torn = write_parallel(partial(failing, calls=calls, stop=None), 12, tmp_path / "torn", MANIFEST, **limits)
    assert 0 < done == calls[0]
    assert torn.shards == whole.shards


def test_a_shard_is_written_without_holding_it(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    image = png(pixels)
    records = (Record(str(index), image + bytes([index]) * 100_000, (100, 100), Manifest("m")) for index in range(100))
    tracemalloc.start()
    written = write_shards(records, tmp_path, Manifest("m"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < written.shards[0].bytes / 4


def test_doubled_keys_are_refused_and_no_manifest_is_left(tmp_path):
    write(tmp_path, 3)
    with pytest.raises(RecordError, match="record r-1: another record has the same key"):
        write_shards([record(1), record(2), record(1)], tmp_path, MANIFEST, records_per_shard=1)
    with pytest.raises(ShardError, match=r"the folder has no manifest\.json"):
        read_manifest(tmp_path)
    assert write(tmp_path, 4).records == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.tar", "manifest.json"]


def test_no_records_and_no_room_are_refused(tmp_path):
    with pytest.raises(ShardError, match="there were no records to write"):
        write_shards([], tmp_path, MANIFEST)
    with pytest.raises(ValueError, match="`records_per_shard` must be at least 1, got 0"):
        write_shards([record(0)], tmp_path, MANIFEST, records_per_shard=0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_second_writer_is_refused_before_it_removes_anything(tmp_path):
    written = write_shards([record(0)], tmp_path, MANIFEST)
    with held_folder(tmp_path), pytest.raises(BusyError, match="another process is writing shards into"):
        write_shards([record(1)], tmp_path, MANIFEST)
    assert read(read_manifest(tmp_path)) == read(written) == [record(0)]


def test_a_manifest_that_cannot_be_read_is_not_written(tmp_path):
    manifest = replace(MANIFEST, categories=NAMES[:3])
    with pytest.raises(ShardError, match=r"labels name 'house' \(value 3\), 'ball' \(value 4\)"):
        write_shards([record(0)], tmp_path / "new", manifest)
    assert not (tmp_path / "new").exists()


def test_data_without_categories_is_fine(tmp_path):
    manifest = Manifest("phrases alone")
    plain = Record("k", record(0).image_bytes, (9, 12), manifest)
    write_shards([plain], tmp_path, manifest)
    assert read(read_manifest(tmp_path)) == [plain]


def failing(index, calls, stop):
    if index == stop:
        raise KeyboardInterrupt
    calls.append(index)
    return record(index)


@pytest.mark.parametrize("changed", [None, "settings", "shard", "no settings", "format"])
def test_a_stopped_write_continues_after_its_last_whole_shard(tmp_path, changed):
    whole = write(tmp_path / "whole", 12)
    folder, calls, settings = tmp_path / "torn", [], {} if changed == "no settings" else {"seed": 1}

    def again(stop, settings):
        calls.clear()
        make = partial(failing, calls=calls, stop=stop)
        return write_parallel(make, 12, folder, MANIFEST, processes=0, records_per_shard=5, settings=settings)

    with pytest.raises(KeyboardInterrupt):
        again(8, settings)
    assert calls == list(range(8))
    if changed == "shard":
        (folder / "000000.tar").write_bytes(b"")
    if changed == "format":
        unfinished = folder / "unfinished.json"
        unfinished.write_text(unfinished.read_text().replace('"format": 2', '"format": 1'))
    found = again(None, {"seed": 2} if changed == "settings" else settings)
    assert calls == list(range(12) if changed else range(5, 12))
    assert found.shards == whole.shards
    found.verify()
    assert not (folder / "unfinished.json").exists()
