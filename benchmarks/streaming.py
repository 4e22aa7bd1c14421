"""What training streams read, hold and wait for, beside streams that fill 1,000 records of each source in every epoch.

``python benchmarks/streaming.py`` reads undecoded records both ways in one run and prints ratios; ``--results`` saves
them as ``docs/results/streaming.json``. The other way is what this package did at first: with every epoch each worker
reads its shards (each n-th of all) in a new order through webdataset's shuffle buffer of 1,000 records.

- *bytes*: bytes read for each byte that is used, over some epochs of 512 samples from 1,000 shards of 20 records, in
  two workers;
- *first batch*: seconds until 16 records are there, if opening a shard takes 30 ms and 50 MB arrive in a second;
- *memory*: what a worker with twelve sources of photographs holds;
- *draws*: how often a record of a short last shard is drawn for each time that another one is, with eight shards, eight
  workers and epochs of 512 samples.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tarfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, BinaryIO, cast

import numpy as np
import webdataset

from lasagna.core.record import Manifest
from lasagna.core.seeding import generator
from lasagna.datamodules.shards.folder import Shard, ShardFolder
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.reader import RawSample, ShardSplit, read_share
from lasagna.datamodules.streaming.mixture import StreamConfig
from lasagna.datamodules.streaming.passes import Passes
from lasagna.datamodules.streaming.shuffle import ShuffledRecords, byte_size
from lasagna.tasks.callbacks.run_facts import versions, write_json

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "streaming.json"
RENEWED, LIVING = "1,000 records with every epoch", "streams that live"
WAYS = (RENEWED, LIVING)
BUFFER, EPOCH, BATCH, SOURCES, PER_SHARD = 1000, 512, 16, 12, 20
PHOTOGRAPH = 160_000
"""Bytes of a record of COCO: a photograph and its masks."""


@dataclass(frozen=True)
class MadeFolder(ShardFolder):
    """Shards in memory, read as if they came over a network; counts the bytes that are read.

    Args:
        record_bytes: Size of each record.
        delay: Seconds to open a shard.
        rate: Bytes that arrive in a second.
    """

    record_bytes: int
    delay: float = 0.0
    rate: float = float("inf")
    read: list[int] = field(default_factory=lambda: [0])
    tars: dict[int, bytes] = field(default_factory=dict)

    remedy = ""

    def location(self, file: str) -> str:
        """Return the name of the file."""
        return file

    def manifest(self, file: str) -> bytes:
        """Return nothing; these shards have no manifest to read."""
        return b""

    def size_errors(self, shards: object) -> list[str]:
        """Return no errors."""
        return []

    def open(self, shard: Shard) -> BinaryIO:
        """Open a shard."""
        time.sleep(self.delay)
        if shard.records not in self.tars:
            self.tars[shard.records] = _tar(shard.records, self.record_bytes)
        return cast(BinaryIO, _Counted(self, self.tars[shard.records]))


class _Counted(BytesIO):
    """Bytes that can only be read in order."""

    def __init__(self, folder: MadeFolder, content: bytes) -> None:
        super().__init__(content)
        self.folder = folder

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.folder.read[0] += len(content)
        time.sleep(len(content) / self.folder.rate)
        return content


class Worker:
    """What one worker draws from some sources with equal weights.

    Args:
        way: One of ``WAYS``.
        sets: The shards of each source.
        split: Which of how many workers this is.
    """

    def __init__(self, way: str, sets: list[ShardSet], split: ShardSplit) -> None:
        self.way, self.sets, self.split = way, sets, split
        names = {str(rank): 1.0 for rank in range(len(sets))}
        self.config = StreamConfig(0, BATCH, split.parts, BUFFER, 128.0, names, {})
        self.rng = np.random.default_rng(split.part)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch."""
        if self.way == RENEWED:
            self.streams = [_renewed(shard_set, epoch, self.split) for shard_set in self.sets]
        elif epoch == 0:
            self.streams = [self._living(rank) for rank in range(len(self.sets))]

    def draw(self, count: int) -> list[RawSample]:
        """Return some records."""
        return [next(self.streams[self.rng.integers(len(self.sets))]) for _ in range(count)]

    def _living(self, rank: int) -> Iterator[RawSample]:
        passes = Passes(self.sets[rank], str(rank), 0, 0, self.split)
        return (raw for _, raw in ShuffledRecords(passes, self.config.bounds(str(rank))))


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    found: dict[str, Any] = {}
    for name, measure in (("bytes", used_bytes), ("first batch", first_batch), ("memory", memory), ("draws", draws)):
        values = {way: measure(way, options) for way in WAYS}
        found[name] = {**values, "ratio": values[RENEWED] / values[LIVING]}
        print(f"{name:12s}" + ", ".join(f"{way}: {value:.2f}" for way, value in found[name].items()), flush=True)
    if options.results:
        settings = {"epochs": options.epochs, "photograph_bytes": PHOTOGRAPH, "sources": SOURCES}
        write_json(RESULTS, {"cores": os.cpu_count(), "versions": versions(), **settings, "measured": found})


def used_bytes(way: str, options: argparse.Namespace) -> float:
    """Return how many bytes are read for each one that is used, with 1,000 small shards."""
    folder, used = MadeFolder(4000), 0
    workers = [Worker(way, [_shards(folder, [PER_SHARD] * 1000)], ShardSplit(part, 2)) for part in range(2)]
    for epoch in range(options.epochs):
        for worker in workers:
            worker.begin_epoch(epoch)
            used += sum(map(byte_size, worker.draw(EPOCH // 2)))
    return folder.read[0] / used


def first_batch(way: str, options: argparse.Namespace) -> float:
    """Return the seconds until a worker has records for its first batch, over a network."""
    del options
    folder = MadeFolder(PHOTOGRAPH, delay=0.03, rate=50e6)
    worker = Worker(way, [_shards(folder, [PER_SHARD] * 1000)], ShardSplit(0, 2))
    began = time.perf_counter()
    worker.draw(BATCH)
    return time.perf_counter() - began


def memory(way: str, options: argparse.Namespace) -> float:
    """Return the MB that the buffers of a worker with twelve sources add to its resident memory."""
    del options
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_resident, (way,))


def draws(way: str, options: argparse.Namespace) -> float:
    """Return how often a record of a short shard is drawn for each time that another one is."""
    folder, counts = MadeFolder(1), Counter[str]()
    sizes = [1000] * 7 + [100]
    workers = [Worker(way, [_shards(folder, sizes)], ShardSplit(part, 8)) for part in range(8)]
    for epoch in range(2 * options.epochs):
        for worker in workers:
            worker.begin_epoch(epoch)
            counts.update(raw["__url__"] for raw in worker.draw(EPOCH // 8))
    each = [counts[f"{number}.tar"] / size for number, size in enumerate(sizes)]
    return each[-1] / (sum(each[:-1]) / 7)


def _resident(way: str) -> float:
    folder = MadeFolder(PHOTOGRAPH)
    worker = Worker(way, [_shards(folder, [PER_SHARD] * 400) for _ in range(SOURCES)], ShardSplit(0, 2))
    folder.open(Shard("", PER_SHARD, 0, ""))
    before, most = _rss(), 0.0
    for _ in range(500):
        worker.draw(BATCH)
        most = max(most, _rss())
    return most - before


def _rss() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _renewed(shard_set: ShardSet, epoch: int, split: ShardSplit) -> Iterator[RawSample]:
    visit = 0
    while True:
        order = generator(0, epoch, str(visit)).permutation(len(shard_set.shards))
        records = read_share(shard_set, [shard_set.shards[place] for place in order], split)
        shuffle = webdataset.filters.shuffle(BUFFER, BUFFER, rng=Random(f"{epoch}/{visit}/{split.part}"))
        yield from shuffle(records)
        visit += 1


def _shards(folder: ShardFolder, sizes: list[int]) -> ShardSet:
    shards = tuple(Shard(f"{number}.tar", size, 0, "") for number, size in enumerate(sizes))
    return ShardSet(folder, Manifest("made", ()), shards)


def _tar(records: int, record_bytes: int) -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number in range(records):
            info = tarfile.TarInfo(f"{number}.jpg")
            info.size = record_bytes
            tar.addfile(info, BytesIO(bytes(record_bytes)))
    return file.getvalue()


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--results", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
