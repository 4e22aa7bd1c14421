"""The shuffle buffer holds few bytes, begins soon, and continues from any place."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from lasagna.core.seeding import generator
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.datamodules.streaming.shuffle import Bounds, ShuffledRecords, byte_size


class FakePasses:
    """Endless passes over records of given sizes in bytes, which counts what is read."""

    def __init__(self, sizes):
        self.sizes, self.read_records = sizes, 0

    def count(self, visit):
        return len(self.sizes)

    def read(self, visit=0, offset=0):
        while True:
            for number in range(offset, len(self.sizes)):
                self.read_records += 1
                yield visit, number, {"__key__": f"{number}", "jpg": bytes(self.sizes[number])}
            visit, offset = visit + 1, 0

    def generator(self, key):
        return generator(0, 0, key)

    split = ShardSplit()


def keys(stream, count):
    return [(visit, int(raw["__key__"])) for visit, raw in islice(stream, count)]


@pytest.mark.parametrize("sizes", [[100] * 700, [10 + 37 * (rank % 50) for rank in range(700)], [5000, 1, 1] * 100])
def test_bytes_bound_what_waits_whatever_the_records_hold(sizes):
    stream = ShuffledRecords(FakePasses(sizes), Bounds(1000, 6000, 10))
    for _ in range(2 * len(sizes)):
        next(stream)
        assert stream.waiting_bytes <= 6000 + max(sizes)


def test_it_begins_after_few_records_and_grows():
    passes = FakePasses([1] * 5000)
    stream = ShuffledRecords(passes, Bounds(1000, 10**9, 100))
    next(stream)
    assert passes.read_records <= 102
    most = passes.read_records
    for number in range(4000):
        next(stream)
        assert passes.read_records - most <= 3  # no draw waits for a whole block
        most = passes.read_records
        assert most - number <= 2100
    assert stream.place.limit == 1000


@pytest.mark.parametrize("size", [1, 3, 99, 101, 150, 1050])
def test_each_pass_gives_each_record_once_in_another_order(size):
    found = keys(ShuffledRecords(FakePasses([1] * size), Bounds(1000, 10**9, 100)), 3 * size)
    for visit in range(3):
        part = found[visit * size : (visit + 1) * size]
        assert sorted(part) == [(visit, number) for number in range(size)]
    orders = [[number for _, number in found[visit * size : (visit + 1) * size]] for visit in range(3)]
    assert size < 99 or (orders[0] != orders[1] != orders[2] and orders[0] != sorted(orders[0]))


@pytest.mark.parametrize("done", [1, 9, 10, 11, 57, 120, 299, 300, 301, 640])
@pytest.mark.parametrize("limit", [400, 10**9])
def test_it_goes_on_from_a_place_and_reads_no_more_than_its_block_again(done, limit):
    sizes = [1 + rank % 7 for rank in range(300)]
    bounds = Bounds(80, limit, 10)
    first = ShuffledRecords(FakePasses(sizes), bounds)
    keys(first, done)
    passes = FakePasses(sizes)
    again = ShuffledRecords(passes, bounds, first.place)
    assert keys(again, 1) == keys(first, 1)
    assert passes.read_records <= 2 * 80 + 3
    assert keys(again, 500) == keys(first, 500)
    assert again.place == first.place


@pytest.mark.parametrize("done", [1, 40, 41, 99, 131])
def test_records_come_as_often_as_they_are_repeated_and_places_hold(done):
    def repeat(visit, raw):
        return [raw] * (int(raw["__key__"]) % 3) if visit != 1 else []

    def stream(place=None):
        return ShuffledRecords(FakePasses([1] * 60), Bounds(16, 10**9, 10), place, repeat)

    first = stream()
    found = keys(first, done)
    again = stream(first.place)
    rest = keys(again, 180 - done)
    assert rest == keys(first, 180 - done)
    assert again.place == first.place
    times = {(visit, number): number % 3 for visit in (0, 2, 3) for number in range(60) if number % 3}
    assert Counter(found + rest) == times


def test_a_buffer_of_one_keeps_the_order():
    assert keys(ShuffledRecords(FakePasses([1] * 9), Bounds(1, 10**9, 100)), 9) == [(0, number) for number in range(9)]


def test_bytes_are_those_of_files():
    assert byte_size({"__key__": "a", "__url__": "somewhere", "jpg": b"123", "json": b"{}"}) == 5
