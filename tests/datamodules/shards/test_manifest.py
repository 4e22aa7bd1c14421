"""A manifest that cannot be right is refused, and shards are compared with it."""

from __future__ import annotations

import json

import pytest

from lasagna.datamodules import read_manifest
from lasagna.errors import ShardError
from tests.helpers.data_fakes import NAMES, write


def test_a_missing_folder_says_the_way_out(tmp_path):
    with pytest.raises(ShardError, match=r"nowhere: the folder does not exist.*lasagna convert"):
        read_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("shards"),
        lambda data: data.update(format=3),
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


def test_a_changed_byte_is_found_by_its_checksum(tmp_path):
    shard_set = write(tmp_path, 5)
    path = tmp_path / "000000.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))
    shard_set.check()
    with pytest.raises(ShardError, match=r"000000\.tar: expected sha256"):
        shard_set.verify()
