"""The index says what each record holds, where it is, and is kept beside the shards."""

import tarfile
from dataclasses import replace
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import pytest

from lasagna.core.masks import RLEMask
from lasagna.core.record import Region
from lasagna.datamodules import Source, read_manifest, write_shards
from lasagna.datamodules.shards import index as module
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.index import make_index, read_index, sample_at
from lasagna.datamodules.shards.manifest import INDEX_FILE, write_manifest
from lasagna.errors import ConfigError, ShardError
from tests.helpers.data_fakes import Listing, write
from tests.helpers.made_records import manifest, record


def test_an_index_says_what_a_pass_over_the_records_says(tmp_path):
    write(tmp_path, 12)
    shard_set = read_manifest(tmp_path)
    index = make_index(shard_set)
    records = list(Source(str(tmp_path), Listing()).records())
    assert list(index.keys) == [one.key for one in records]
    for number, one in enumerate(records):
        shown = index.entries[index.entries[:, 0] == number, 1]
        assert {index.names[place] for place in shown} == set(one.category_masks())
        assert decode_record(sample_at(shard_set, index, number), one.manifest) == one
    shows = np.array([[name in one.category_masks() for name in index.names] for one in records]).astype(int)
    assert np.array_equal(index.together, shows.T @ shows)
    assert np.array_equal(index.images, shows.sum(0))
    first, second, *rest = index.names
    merged = index.renamed(lambda name: "both" if name in (first, second) else name)
    assert merged.names == ("both", *rest)
    assert np.array_equal(merged.images, np.column_stack([shows[:, :2].max(1), shows[:, 2:]]).sum(0))
    assert merged.entries[:, 2].sum() == index.entries[:, 2].sum() and index.renamed(str) is index


def test_objects_are_counted(tmp_path):
    dots = [RLEMask.from_array(np.eye(6, 8, shift)) for shift in range(3)]
    regions = (Region.of_objects("sky", dots[:2], dots[2:]), Region("sea", dots[0]), Region.of_objects("sky", dots[2:]))
    write_shards([record(regions=regions)], tmp_path, manifest())
    index = read_index(read_manifest(tmp_path))
    assert {index.names[name]: objects for _, name, objects in index.entries.tolist()} == {"sky": 3, "sea": 0}


def test_an_index_is_made_once_and_again_for_other_shards(tmp_path, monkeypatch):
    write(tmp_path, 6)
    made = []
    monkeypatch.setattr(module, "make_index", lambda shard_set: made.append(shard_set) or make_index(shard_set))
    first = read_index(read_manifest(tmp_path))
    assert read_index(read_manifest(tmp_path)) is first, "sources of the same shards share it"
    monkeypatch.setattr(module, "_known", WeakValueDictionary())
    again = read_index(read_manifest(tmp_path))
    assert len(made) == 1
    assert (again.keys, again.names) == (first.keys, first.names)
    assert np.array_equal(again.entries, first.entries)
    kept = (tmp_path / INDEX_FILE).read_bytes()
    write(tmp_path, 8)
    (tmp_path / INDEX_FILE).write_bytes(kept)
    assert len(read_index(read_manifest(tmp_path))) == 8
    (tmp_path / INDEX_FILE).write_bytes(b"spoilt")
    assert len(read_index(read_manifest(tmp_path))) == 8
    assert len(made) == 3


def test_other_names_for_the_same_shards_make_another_index(tmp_path):
    write(tmp_path, 3)
    shard_set = read_manifest(tmp_path)
    names = {name: f"other {name}" for name in shard_set.manifest.categories}
    renamed = replace(
        shard_set.manifest,
        categories=tuple(names.values()),
        labels={value: names[name] for value, name in shard_set.manifest.labels.items()},
    )
    assert read_index(shard_set).names[0] == shard_set.manifest.categories[0]
    write_manifest(replace(shard_set, manifest=renamed), tmp_path)
    assert read_index(read_manifest(tmp_path)).names[0] == renamed.categories[0]


def test_an_index_that_cannot_be_kept_is_told_and_used(tmp_path, monkeypatch):
    write(tmp_path, 2)

    def refuse(*_, **__):
        raise OSError("no room")

    monkeypatch.setattr(module.np, "savez_compressed", refuse)
    with pytest.warns(UserWarning, match="could not be kept .no room."):
        assert len(read_index(read_manifest(tmp_path))) == 2


def test_remote_shards_need_a_cache_and_compressed_ones_no_place(tmp_path):
    write(tmp_path, 2)
    remote = Source(f"pipe:cat {tmp_path}/{{file}}", Listing())
    with pytest.raises(ConfigError, match=r"set `remote\.cache`"):
        read_index(remote.shard_set)
    shard_set = read_manifest(tmp_path)
    file = Path(tmp_path / shard_set.shards[0].file)
    plain = file.read_bytes()
    with tarfile.open(file) as source, tarfile.open(tmp_path / "packed", "w:gz") as target:
        for member in source:
            target.addfile(member, source.extractfile(member))
    (tmp_path / "packed").replace(file)
    index = make_index(shard_set)
    assert (len(index), index.places[0, 1]) == (2, -1)
    with pytest.raises(ShardError, match="is compressed"):
        sample_at(shard_set, index, 0)
    file.write_bytes(plain[:1000])
    with pytest.raises(ShardError, match="cannot be read"):
        make_index(shard_set)
