"""Shards are read as webdataset reads them, and what is missing or broken is named."""

from __future__ import annotations

import tarfile
from io import BytesIO

import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from lasagna.datamodules.shards.folder import LocalFolder, Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import ShardSplit, read_shard, read_share
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
