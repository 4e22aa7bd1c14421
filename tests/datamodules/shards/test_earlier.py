"""A finished conversion that is started again stays as it is, and one conversion at a time works in a target."""

import os

import pytest

from lasagna.datamodules import read_manifest
from lasagna.datamodules.converters import convert
from lasagna.errors import LasagnaError, RecordError, ShardError
from tests.datamodules.converters.common.test_conversion import DotsOf, DotsOfFiles
from tests.helpers.locked import held_folder


@pytest.fixture
def source(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"fine")
    (tmp_path / "all.json").write_text("{}")
    return DotsOfFiles(tmp_path)


@pytest.fixture
def shards(tmp_path):
    return tmp_path / "shards"


def times(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_finished_conversion_says_so_and_stays_as_it_is(source, shards, capsys):
    written = convert(source, shards, records_per_shard=4, processes=0)
    before = times(shards)
    assert convert(source, shards, records_per_shard=4, processes=0) == written
    assert convert(source, shards, processes=2) == written
    assert times(shards) == before
    assert f"{shards}/train: 20 images, finished before and left as they are" in capsys.readouterr().out


def test_a_split_that_is_finished_is_not_written_again_when_another_one_goes_on(tmp_path, shards):
    class Late(DotsOf):
        def splits(self):
            first, second = super().splits().values()
            return {"first": second, "second": first}

    with pytest.raises(RecordError, match="dot 13"):
        convert(Late(tmp_path, broken=13), shards, records_per_shard=4, processes=0)
    before = times(shards / "first")
    convert(Late(tmp_path), shards, records_per_shard=4, processes=0)
    assert times(shards / "first") == before
    assert [read_manifest(shards / part).records for part in ("first", "second")] == [1, 14]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"broken": "skip"}, "broken stop, which is now skip"),
        ({"records_per_shard": 3}, "shards of another size"),
        ("image", "inputs that have changed since"),
        ("annotations", "inputs that have changed since"),
    ],
)
def test_a_finished_conversion_of_something_else_is_refused(tmp_path, source, shards, change, told):
    convert(source, shards, records_per_shard=4, processes=0)
    before = times(shards)
    if isinstance(change, str):
        (tmp_path / ("all.json" if change == "annotations" else "7.png")).write_bytes(b"mended")
    options = {"records_per_shard": 4} | (change if isinstance(change, dict) else {})
    with pytest.raises(ShardError, match=rf"target: {shards}/train holds a finished conversion with {told}; choose"):
        convert(source, shards, processes=0, **options)
    assert times(shards) == before


def test_finished_shards_of_which_one_is_lost_are_written_again(source, shards):
    convert(source, shards, records_per_shard=4, processes=0)
    (shards / "train" / "000001.tar").unlink()
    convert(source, shards, records_per_shard=4, processes=0)
    read_manifest(shards / "train").verify()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_one_conversion_at_a_time_works_in_a_target(source, shards):
    shards.mkdir()
    with held_folder(shards), pytest.raises(LasagnaError, match=f"another process is writing shards into {shards}"):
        convert(source, shards, processes=0)
    assert not list(shards.iterdir())
