"""Shards are written whole, in the same bytes again, and faults are found before anything is read."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np
import pytest

from lasagna.core.record import Manifest, Record
from lasagna.datamodules import read_manifest, write_parallel, write_shards
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.datamodules.shards.writer import CHUNK, _in_order
from lasagna.errors import ConfigError, RecordError, ShardError
from tests.helpers.data_fakes import MANIFEST, NAMES, png, record, write


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


def test_a_stopped_write_goes_on_with_shards_that_are_bounded_by_bytes(tmp_path):
    calls, limits = [], {"processes": 0, "records_per_shard": 50, "bytes_per_shard": 4000, "settings": {"seed": 1}}
    whole = write_parallel(partial(failing, calls=[], stop=None), 12, tmp_path / "whole", MANIFEST, **limits)
    with pytest.raises(KeyboardInterrupt):
        write_parallel(partial(failing, calls=[], stop=9), 12, tmp_path / "torn", MANIFEST, **limits)
    done = sum(shard.records for shard in read_manifest(tmp_path / "torn", "unfinished.json").shards)
    assert not list((tmp_path / "torn").glob("*.part"))
    torn = write_parallel(partial(failing, calls=calls, stop=None), 12, tmp_path / "torn", MANIFEST, **limits)
    assert 0 < done == calls[0]
    assert torn.shards == whole.shards


class HeldBack:
    """A pool that does at once what it is asked for, and counts it."""

    def __init__(self):
        self.made = 0

    def apply_async(self, make, arguments):
        self.made += len(arguments[0])
        return self

    def get(self):
        return [None] * CHUNK


def test_records_are_made_only_a_little_ahead_of_their_writing():
    pool = HeldBack()
    stream = _in_order(pool, range(1000), 3)
    for taken in range(1, 200):
        next(stream)
        assert pool.made <= taken + 4 * CHUNK


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


def test_a_missing_folder_says_the_way_out(tmp_path):
    with pytest.raises(ShardError, match=r"nowhere: the folder does not exist.*lasagna convert"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("shards"),
        lambda data: data.update(format=2),
        lambda data: data.update(unannotated="maybe"),
        lambda data: data["shards"][0].update(file="../elsewhere.tar"),
        lambda data: data["shards"][0].update(file="pipe:date"),
        lambda data: data["shards"][0].pop("bytes"),
        lambda data: data.update(labels=[1]),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path, change):
    write(tmp_path, 3)
    path = tmp_path / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    if data.get("shards", [{}])[0].get("file") == "pipe:date":
        with pytest.raises(ShardError, match="the shard is missing"):
            read_manifest(tmp_path).check()
    else:
        with pytest.raises(ShardError, match="not a manifest of this version"):
            read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"categories": ["sky", "grass"]}, r"labels name 'oak' \(value 2\), 'house' \(value 3\), 'ball' \(value 4\)"),
        ({"categories": []}, r"labels name 'sky' \(value 0\)"),
        ({"categories": [*NAMES, "Sky "]}, "categories name 'sky' more than once"),
    ],
)
def test_a_manifest_whose_names_do_not_fit_is_refused(tmp_path, change, told):
    write(tmp_path, 3)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ShardError, match=told) as fault:
        read_manifest(tmp_path)
    assert "manifest.json" in str(fault.value)


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


def test_a_changed_byte_is_found_by_its_checksum(tmp_path):
    shard_set = write(tmp_path, 5)
    path = tmp_path / "000000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))
    shard_set.check()
    with pytest.raises(ShardError, match=r"000000\.tar: expected sha256"):
        shard_set.verify()


@pytest.mark.parametrize("kept", [0, 100, 5000, 10240])
def test_a_shard_truncated_while_running_is_named(tmp_path, kept):
    shard_set = write(tmp_path, 10, per_shard=10)
    path = tmp_path / "000000.tar"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ShardError, match=r"000000\.tar: the shard (cannot be read|holds)"):
        list(read_share(shard_set, shard_set.shards, ShardSplit()))


def test_a_shard_missing_while_running_is_named(tmp_path):
    shard_set = write(tmp_path, 3)
    (tmp_path / "000000.tar").unlink()
    with pytest.raises(ShardError, match=r"000000\.tar: the shard cannot be read"):
        list(read_share(shard_set, shard_set.shards, ShardSplit()))


def failing(index, calls, stop):
    if index == stop:
        raise KeyboardInterrupt
    calls.append(index)
    return record(index)


@pytest.mark.parametrize("changed", [None, "settings", "shard", "no settings"])
def test_a_stopped_write_goes_on_after_its_last_whole_shard(tmp_path, changed):
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
    found = again(None, {"seed": 2} if changed == "settings" else settings)
    assert calls == list(range(12) if changed else range(5, 12))
    assert found.shards == whole.shards
    found.verify()
    assert not (folder / "unfinished.json").exists()
