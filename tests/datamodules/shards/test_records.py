"""Records are read as they are asked for, all of them or those of some keys."""

import pytest

import lasagna
from lasagna.datamodules.shards import records as module
from lasagna.errors import RecordError, ShardError
from tests.helpers.data_fakes import write


def test_records_come_in_order_and_again(tmp_path):
    write(tmp_path, 7, per_shard=3)
    records = lasagna.records(tmp_path)
    assert records.manifest.name == "made up"
    assert [record.key for record in records] == [f"r-{number}" for number in range(7)] == [one.key for one in records]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [("r-[13]", ["r-1", "r-3"]), (["r-4", "r-2"], ["r-2", "r-4"]), (lambda key: key > "r-4", ["r-5", "r-6"]), ([], [])],
)
def test_records_of_some_keys(tmp_path, keys, expected):
    write(tmp_path, 7, per_shard=3)
    assert [record.key for record in lasagna.records(str(tmp_path), keys)] == expected


def test_only_what_is_asked_for_is_decoded_and_read(tmp_path, monkeypatch):
    write(tmp_path, 9, per_shard=3)
    decoded, opened = [], []
    monkeypatch.setattr(module, "decode_record", lambda raw, manifest: decoded.append(raw["__key__"]))
    read_shard = module.read_shard
    monkeypatch.setattr(
        module, "read_shard", lambda shards, shard: opened.append(shard.file) or read_shard(shards, shard)
    )
    next(iter(lasagna.records(tmp_path)))
    list(lasagna.records(tmp_path, ["r-4"]))
    assert decoded == ["r-0", "r-4"]
    assert opened == ["000000.tar", "000000.tar", "000001.tar"]


def test_a_key_without_a_record_and_a_folder_without_shards_are_told(tmp_path):
    write(tmp_path / "here", 3)
    with pytest.raises(RecordError, match="there is no record with the key 'r-7'; "):
        list(lasagna.records(tmp_path / "here", ["r-1", "r-7"]))
    with pytest.raises(ShardError, match=r"does not exist, so there is no manifest\.json"):
        list(lasagna.records(tmp_path / "there"))
    with pytest.raises(ShardError, match="but its folders here have; name one of them"):
        list(lasagna.records(tmp_path))
