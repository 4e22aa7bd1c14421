"""Reading the samples of shards through webdataset, undecoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from tarfile import TarError
from typing import Any, BinaryIO

import numpy as np
import webdataset

from lasagna.datamodules.shard_folder import Shard
from lasagna.datamodules.shard_set import ShardSet
from lasagna.datamodules.share import Share
from lasagna.errors import ShardError

BLOCK = 1 << 16

RawSample = dict[str, Any]


def read_share(shard_set: ShardSet, shards: Sequence[Shard], share: Share) -> Iterator[RawSample]:
    """Read a part of the samples of some shards, in order.

    Args:
        shard_set: Where the shards are.
        shards: The shards in the order to read them, the same for all parts.
        share: The part to read.

    Yields:
        Samples as webdataset has them: files by extension, ``__key__`` and ``__url__``.

    Raises:
        ShardError: If a shard is missing, broken or holds another number of records than its manifest says.
    """
    samples = (sample for shard in share.shards(shards) for sample in read_shard(shard_set, shard))
    return share.records(samples, shards)


def read_shard(shard_set: ShardSet, shard: Shard) -> Iterator[RawSample]:
    """Read the samples of one shard.

    Raises:
        ShardError: If it is missing, broken or holds another number of records than its manifest says.
    """
    place, found = shard_set.folder.place(shard.file), 0
    try:
        with shard_set.folder.open(shard) as stream:
            files = webdataset.tariterators.tar_file_expander([{"url": place, "stream": stream}])
            for sample in webdataset.tariterators.group_by_keys(files):
                found += 1
                yield sample
            _read_to_end(stream)
    except (OSError, TarError, EOFError, ValueError) as fault:
        raise ShardError(shard_set.unreadable(shard, fault)) from fault
    if found != shard.records:
        raise ShardError(
            f"{place}: the shard holds {found} records, its manifest says {shard.records}; {shard_set.folder.way_out}"
        )


def shuffled(samples: Iterator[RawSample], buffer: int, rng: np.random.Generator) -> Iterator[RawSample]:
    """Shuffle samples through a buffer.

    Args:
        samples: The samples.
        buffer: How many samples are held at a time; 1 or less leaves the order.
        rng: Where the order comes from.
    """
    if buffer <= 1:
        return samples
    order = Random(int(rng.integers(1 << 62)))
    return iter(webdataset.filters.shuffle(bufsize=buffer, initial=buffer, rng=order)(samples))


def _read_to_end(stream: BinaryIO) -> None:
    # what comes after the last record is nothing but zeros, and a part of what a checksum is made of
    while stream.read(BLOCK):
        pass
