"""Each pass holds each record once over all streams, which read equally many, whatever the sizes of the shards are."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.datamodules.streaming import passes
from lasagna.datamodules.streaming.passes import Passes
from lasagna.datamodules.streaming.shuffle import Bounds, ShuffledRecords
from tests.helpers.data_fakes import MANIFEST

SIZES = st.lists(st.integers(1, 12), min_size=1, max_size=12)


def streams(sizes, parts, seed=0):
    shards = tuple(Shard(str(number), size, 0, "") for number, size in enumerate(sizes))
    return [
        Passes(ShardSet(None, MANIFEST, shards), "made up", seed, 0, ShardSplit(part, parts)) for part in range(parts)
    ]


def records(stream, visit):
    return [(run.shard.file, number) for run in stream.runs(visit) for number in range(run.first, run.last)]


@pytest.fixture(autouse=True)
def _no_files(monkeypatch):
    def read_shard(shard_set, shard, first, last):
        return ({"__key__": (shard.file, number), "jpg": b"12345"} for number in range(first, last))

    monkeypatch.setattr(passes, "read_shard", read_shard)


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(1, 20), st.integers(0, 9))
def test_each_pass_holds_each_record_once_in_parts_of_one_size(sizes, parts, visit):
    every = streams(sizes, parts)
    found = [records(stream, visit) for stream in every]
    assert Counter(key for part in found for key in part) == Counter(
        (str(number), rank) for number, size in enumerate(sizes) for rank in range(size)
    )
    assert [len(part) for part in found] == [stream.count(visit) for stream in every]
    assert max(map(len, found)) - min(map(len, found)) <= 1


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(1, 3), st.integers(1, 4), st.integers(1, 30))
def test_every_record_is_drawn_as_often_as_every_other(sizes, ranks, workers, buffer):
    """Streams that are read in turn, as batches are; after as many draws as there are records, all are equal."""
    parts = ranks * workers
    drawn, total = Counter(), sum(sizes)
    every = [ShuffledRecords(stream, Bounds(buffer, 10**6, 4)) for stream in streams(sizes, parts)]
    for _ in range(total):
        drawn.update(raw["__key__"] for _, raw in map(next, every))
        if total >= parts:
            counts = [drawn[str(number), rank] for number, size in enumerate(sizes) for rank in range(size)]
            assert max(counts) - min(counts) <= 2
    assert set(drawn.values()) == {parts}
    assert len(drawn) == total


@pytest.mark.parametrize(("parts", "least"), [(1, 1.0), (4, 1.0), (3, 1.15)])
def test_whole_shards_are_read_by_one_stream_each(parts, least):
    sizes = [10] * 16
    opened = [(run.shard.file, run.last) for stream in streams(sizes, parts) for run in stream.runs(0)]
    assert sum(last for _, last in opened) <= least * sum(sizes)


@settings(max_examples=15, deadline=None)
@given(SIZES, st.integers(1, 6), st.integers(0, 40))
def test_reading_goes_on_from_any_place(sizes, parts, done):
    for stream in streams(sizes, parts):
        whole = list(islice(stream.read(), done + 20))
        visit, offset, _ = whole[done]
        assert list(islice(stream.read(visit, offset), 20)) == whole[done:]


def test_passes_and_seeds_have_orders_of_their_own():
    [one], [other] = streams([5] * 8, 1), streams([5] * 8, 1, seed=1)
    assert len({tuple(records(stream, visit)) for stream in (one, other) for visit in range(3)}) == 6
    # a single shard is cut elsewhere in each pass, so that a stream meets other records
    assert len({frozenset(records(streams([50], 2)[0], visit)) for visit in range(8)}) > 4
