"""Streams give every record its turn, in an order that depends on nothing but the seed and their beginning."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from itertools import islice

import numpy as np
import pytest

from lasagna.datamodules import OrderRandomization, RecordTransform, Source, read_manifest
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import write_manifest
from lasagna.datamodules.streaming.mixture import Mixture, StreamConfig
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts, SkippedRecordWarning
from lasagna.datamodules.streaming.stream import EvaluationStream
from lasagna.errors import RecordError
from tests.helpers.data_fakes import EvenOnly, Listing, Silent, png, processors, record, write


def maker(folder, task=None, broken="error", seed=0, strategies=(), **kwargs):
    source = Source(str(folder), task or Listing(), **kwargs)
    return SampleMaker(source, strategies, processors(), seed, RecordCounts([source.label], 2), broken)


def config(makers, *, seed=0, buffer=4, streams=1, megabytes=100.0):
    sources = [made.source for made in makers]
    weights = {source.label: source.weight for source in sources}
    return StreamConfig(seed, 1, streams, buffer, megabytes, weights, dict.fromkeys(weights, 0))


def mixture(makers, *, seed=0, began=0, stream=0, streams=1, buffer=4, position=None):
    made = config(makers, seed=seed, buffer=buffer, streams=streams)
    return Mixture(makers, made, began=began, stream=stream, position=position)


def taken(stream, count):
    return [sample.key for sample in islice(stream, count)]


def replace_file(folder, shard, member, data):
    """Replace one file within a shard and keep the manifest true of it."""
    path = folder / shard
    with tarfile.open(path) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar}
    assert member in files
    files[member] = data
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))
    old = read_manifest(folder)
    digest = sha256(path.read_bytes()).hexdigest()
    shards = [Shard(s.file, s.records, path.stat().st_size, digest) if s.file == shard else s for s in old.shards]
    write_manifest(replace(old, shards=tuple(shards)), folder)


@pytest.mark.parametrize("per_shard", [2, 20])
@pytest.mark.parametrize(("nodes", "workers"), [(1, 1), (2, 2), (3, 1)])
def test_evaluation_gives_each_record_once_over_all_nodes_and_workers(tmp_path, monkeypatch, per_shard, nodes, workers):
    write(tmp_path, 17, per_shard=per_shard)
    found = []
    monkeypatch.setenv("NUM_WORKERS", str(workers))
    for rank in range(nodes):
        for worker in range(workers):
            monkeypatch.setenv("WORKER", str(worker))
            found += [sample.key for sample in EvaluationStream(maker(tmp_path), rank, nodes, workers)]
    assert sorted(found) == sorted(f"r-{index}" for index in range(17))


@pytest.mark.parametrize("per_shard", [2, 20])
def test_one_pass_of_all_streams_gives_each_record_once(tmp_path, per_shard):
    write(tmp_path, 16, per_shard=per_shard)
    for began in range(3):
        parts = [mixture([maker(tmp_path)], began=began, stream=part, streams=4, buffer=3) for part in range(4)]
        for _ in range(2):
            found = [key for part in parts for key in taken(part, 4)]
            assert sorted(found) == sorted(f"r-{index}" for index in range(16))


def test_more_streams_than_records_give_each_as_often(tmp_path):
    write(tmp_path, 3)
    found = Counter()
    for part in range(5):
        found.update(taken(mixture([maker(tmp_path)], stream=part, streams=5), 30))
    assert set(found) == {"r-0", "r-1", "r-2"}
    assert max(found.values()) - min(found.values()) < 15


def test_orders_repeat_and_differ_between_seeds_beginnings_and_passes(tmp_path):
    write(tmp_path, 40)
    orders = [
        taken(mixture([maker(tmp_path)], seed=seed, began=began), 80)
        for seed, began in [(0, 0), (0, 0), (1, 0), (0, 1)]
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3] != orders[0]
    first, second = orders[0][:40], orders[0][40:]
    assert sorted(first) == sorted(second)
    assert first != second


def test_the_order_is_no_longer_that_of_the_shards(tmp_path):
    write(tmp_path, 40, per_shard=40)
    order = taken(mixture([maker(tmp_path)], buffer=40), 40)
    places = [int(key.split("-")[1]) for key in order]
    assert np.abs(np.corrcoef(places, range(40))[0, 1]) < 0.5
    assert taken(mixture([maker(tmp_path)], buffer=1), 40) == [f"r-{index}" for index in range(40)]


def test_weights_hold_and_a_small_source_comes_again(tmp_path):
    write(tmp_path / "a", 60, prefix="a", name="a")
    write(tmp_path / "b", 4, prefix="b", name="b")
    makers = [maker(tmp_path / "a", weight=3.0), maker(tmp_path / "b", weight=1.0)]
    found = Counter(key[0] for key in taken(mixture(makers), 400))
    assert abs(found["b"] - 100) < 30
    makers = [maker(tmp_path / "a", weight=3.0), maker(tmp_path / "b", EvenOnly(), weight=1.0)]
    found = Counter(key[0] for key in taken(mixture(makers), 400))
    assert abs(found["b"] - 100) < 30  # a weight is a share of the samples, not of the records drawn


def test_the_same_record_gives_the_same_dialogue_in_any_stream_and_another_one_in_the_next_pass(tmp_path):
    write(tmp_path, 8, per_shard=4)
    strategies = [OrderRandomization()]

    def queries(part, parts, count, began=0):
        stream = mixture([maker(tmp_path, strategies=strategies)], stream=part, streams=parts, began=began)
        return [(sample.key, sample.rows[0].dialogue.query) for sample in islice(stream, count)]

    whole = queries(0, 1, 16)
    parts = queries(0, 2, 4) + queries(1, 2, 4)
    assert dict(parts) == dict(whole[:8])
    assert dict(whole[:8]) != dict(whole[8:])
    assert dict(queries(0, 1, 8, began=1)) != dict(whole[:8])


@pytest.mark.parametrize("given", [0, 1, 7, 23])
def test_a_mixture_continues_from_a_position(tmp_path, given):
    write(tmp_path / "a", 12, prefix="a", name="a")
    write(tmp_path / "b", 5, prefix="b", name="b")

    def make():
        return [maker(tmp_path / "a", EvenOnly()), maker(tmp_path / "b", strategies=[OrderRandomization()])]

    first = mixture(make())
    head = taken(first, given)
    again = mixture(make(), position=first.position)
    tail = [(sample.key, sample.rows[0].dialogue.query) for sample in islice(again, 20)]
    whole = [(sample.key, sample.rows[0].dialogue.query) for sample in islice(mixture(make()), given + 20)]
    assert [key for key, _ in whole] == head + [key for key, _ in tail]
    assert whole[given:] == tail


def test_records_without_dialogues_are_passed_over_and_counted(tmp_path):
    write(tmp_path, 10)
    made = maker(tmp_path, EvenOnly())
    assert sorted(sample.key for sample in EvaluationStream(made)) == [f"r-{index}" for index in range(0, 10, 2)]
    assert made.tally.empty == {"made up-evenonly": 5}
    assert made.tally.broken == {}


def test_a_source_that_never_gives_a_dialogue_ends_with_an_error(tmp_path):
    write(tmp_path, 4)
    with pytest.raises(RecordError, match="source made up-silent: 3 passes over its records gave no dialogue"):
        next(mixture([maker(tmp_path, Silent())]))


def broken_files():
    whole = record(3)
    other = record(3, size=(9, 13))
    unknown = np.full((9, 12), 77, dtype=np.uint8)
    jpeg = png(whole.image(), "JPEG")
    return {
        "a broken image": ("r-3.png", whole.image_bytes[:200], "the image cannot be decoded"),
        "a JPEG under a wrong name": ("r-3.png", jpeg[:-150], "the image cannot be decoded"),
        "an image of another size": ("r-3.png", other.image_bytes, r"the image has size \(9, 13\)"),
        "a label map of another size": ("r-3.labels.png", png(unknown[:8]), r"label map of size \(8, 12\)"),
        "an unknown label": ("r-3.labels.png", png(unknown), r"label values \[77\] are neither labels nor void"),
        "broken annotations": ("r-3.json", b'{"size": [9]}', "size: expected"),
        "a mask of another size": (
            "r-3.json",
            json.dumps(
                {"size": [9, 12], "regions": [{"name": "sky", "mask": {"size": [2, 2], "counts": [4]}}]}
            ).encode(),
            r"regions\[0\].mask: its size is \(2, 2\), but the image has \(9, 12\)",
        ),
    }


@pytest.mark.parametrize("name", list(broken_files()))
def test_a_broken_record_is_an_error_or_skipped_and_reported(tmp_path, name):
    member, data, message = broken_files()[name]
    write(tmp_path, 8, per_shard=4)
    replace_file(tmp_path, "000000.tar", member, data)
    with pytest.raises(RecordError, match=message) as fault:
        list(EvaluationStream(maker(tmp_path)))
    assert "000000.tar: record r-3" in str(fault.value)
    skipping = maker(tmp_path, broken="skip")
    with pytest.warns(SkippedRecordWarning, match="skipped a broken record: .*000000.tar: record r-3: "):
        found = [sample.key for sample in EvaluationStream(skipping)]
    assert found == ["r-0", "r-1", "r-2", "r-4", "r-5", "r-6", "r-7"]
    assert skipping.tally.broken == {"made up-listing": 1}
    with pytest.warns(SkippedRecordWarning):
        assert "r-3" not in taken(mixture([maker(tmp_path, broken="skip")]), 14)


def test_transforms_come_before_the_task(tmp_path):
    class Halve(RecordTransform):
        def __call__(self, record, rng):
            half = record.image()[:, ::2]
            labels = record.label_map.pixels[:, ::2]
            return type(record)(
                record.key, png(half), half.shape[:2], record.manifest, label_bytes=png(np.ascontiguousarray(labels))
            )

    write(tmp_path, 3)
    [first, *_] = EvaluationStream(maker(tmp_path, transforms=[Halve()]))
    assert first.geometry.original == (9, 6)
    assert first.rows[0].dialogue.entries[0].mask.size == (9, 6)
