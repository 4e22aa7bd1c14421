"""Shards are read as webdataset reads them, and what is missing or broken is named."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from io import BytesIO

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from lasagna.datamodules.shards.folder import LocalFolder, Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import ShardSplit, read_shard, read_share
from lasagna.datamodules.shards.remote import open_folder
from lasagna.errors import ShardError
from tests.helpers.data_fakes import MANIFEST, write


def write_tar(path, names):
    with tarfile.open(path, "w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(name)
                tar.addfile(info, BytesIO(name.encode()))


def read(path, records):
    shard = Shard(path.name, records, path.stat().st_size, "")
    return list(read_shard(ShardSet(LocalFolder(path.parent), MANIFEST, (shard,)), shard))


def test_samples_are_those_of_webdataset(tmp_path):
    path = tmp_path / "mixed.tar"
    files = ["a.png", "a.json", "a.labels.PNG", "__meta__.json", "__more__/b.json", "folder/", "folder.x/b.c.json"]
    write_tar(path, [*files, "noext", ".hidden", "folder.x/b.png", "b.png", "a.json", "dots.", "__key__.txt"])
    with path.open("rb") as stream:
        expected = list(group_by_keys(tar_file_expander([{"url": str(path), "stream": stream}])))
    found = read(path, len(expected))
    assert found == expected
    assert [list(sample) for sample in found] == [list(sample) for sample in expected]


def test_a_file_that_occurs_twice_is_named(tmp_path):
    write_tar(tmp_path / "twice.tar", ["a.png", "a.json", "a.png"])
    with pytest.raises(ShardError, match=r"twice\.tar: the shard cannot be read \(its file 'a\.png' occurs twice\)"):
        read(tmp_path / "twice.tar", 1)


def test_another_number_of_records_is_an_error(tmp_path):
    write_tar(tmp_path / "a.tar", ["a.png", "b.png"])
    with pytest.raises(ShardError, match=r"a\.tar: the shard holds 2 records, its manifest says 3"):
        read(tmp_path / "a.tar", 3)


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


@pytest.mark.parametrize("address", ["{folder}", "pipe:cat {folder}/{{file}}"])
def test_parts_of_a_shard_are_read(tmp_path, address):
    shard_set = replace(write(tmp_path, 10, per_shard=10), folder=open_folder(address.format(folder=tmp_path)))
    [shard] = shard_set.shards
    whole = list(read_shard(shard_set, shard))
    for first, last in [(0, 1), (0, 3), (2, 4), (3, 10), (9, None)]:
        assert list(read_shard(shard_set, shard, first, last)) == whole[first:last]


def test_nothing_behind_a_part_of_a_shard_on_disk_is_read(tmp_path):
    shard_set = write(tmp_path, 10, per_shard=10)
    [shard] = shard_set.shards
    whole = list(read_shard(shard_set, shard))
    (tmp_path / "000000.tar").write_bytes((tmp_path / "000000.tar").read_bytes()[: shard.bytes // 2])
    assert list(read_shard(shard_set, shard, 1, 3)) == whole[1:3]
    with pytest.raises(ShardError, match=r"000000\.tar: the shard (cannot be read|holds)"):
        list(read_shard(shard_set, shard, 1))


def test_a_part_that_is_not_there_is_an_error(tmp_path):
    write_tar(tmp_path / "a.tar", ["a.png", "b.png"])
    shard = Shard("a.tar", 9, 0, "")
    with pytest.raises(ShardError, match=r"a\.tar: the shard holds at most 4 records, its manifest says 9"):
        list(read_shard(ShardSet(LocalFolder(tmp_path), MANIFEST, (shard,)), shard, 4, 6))
