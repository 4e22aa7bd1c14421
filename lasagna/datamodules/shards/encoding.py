"""Records made and encoded for a shard, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

from lasagna.core.record import Record
from lasagna.core.workers import made_in_order, serve_pool, worker_pool
from lasagna.datamodules.shards.codec import encode_record, sample_key
from lasagna.datamodules.shards.tally import ReadResult, Skipped, count_entries
from lasagna.errors import LasagnaError

CHUNK = 4
"""Number of records that a process makes before it returns them."""

AHEAD = 2
"""Chunks per process that may be in work or wait to be written."""

Make = Callable[[int], Record | ReadResult]
"""Makes the record of an index, alone or with what was left out."""


@dataclass(frozen=True)
class EncodedRecord:
    """One item, ready to be written into a shard.

    Args:
        key: Key of the record, as it stands in file names.
        files: Its files by extension, or None if the item is left out.
        entries: Number of its annotations, by kind.
        left_out: What was left out of it.
    """

    key: str = ""
    files: dict[str, bytes] | None = None
    entries: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[Skipped, ...] = ()


def encode(made: Record | ReadResult) -> EncodedRecord:
    """Return the files and counts of an item.

    Args:
        made: The record, alone or with what was left out.

    Raises:
        RecordError: If the record cannot be stored.
    """
    result = made if isinstance(made, ReadResult) else ReadResult(made)
    record = result.record
    if record is None:
        return EncodedRecord(left_out=result.left_out)
    return EncodedRecord(sample_key(record.key), encode_record(record), count_entries(record), result.left_out)


@contextmanager
def encode_parallel(make: Make, indices: range, processes: int) -> Iterator[Iterator[EncodedRecord]]:
    """Make and encode records in several processes, which end with the context.

    Args:
        make: Makes the record of an index; must be picklable, and is sent to each process once.
        indices: The indices.
        processes: Number of processes.

    Yields:
        An iterator of the encoded records in order. It raises the first error of a process after the records before.

    Raises:
        LasagnaError: If a process was killed.
    """
    chunks = (indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK))
    with worker_pool(processes, _start_process, (make,)) as pool:
        made = made_in_order(pool, _make_chunk, chunks, AHEAD * processes)
        yield map(_raise_error, chain.from_iterable(made))


_process_make: list[Make] = []
"""In a process of the pool: makes the records. Sending it with each index would be slow."""


def _start_process(make: Make) -> None:
    # Ctrl-C reaches all processes; the main process ends the others, which need not report it
    serve_pool()
    _process_make[:] = [make]


def _raise_error(item: EncodedRecord | LasagnaError) -> EncodedRecord:
    if isinstance(item, LasagnaError):
        raise item
    return item


def _make_chunk(indices: range) -> list[EncodedRecord | LasagnaError]:
    made: list[EncodedRecord | LasagnaError] = []
    for index in indices:
        # an error takes the place of its record; raising it here would lose the other records of the chunk
        try:
            made.append(encode(_process_make[0](index)))
        except LasagnaError as error:
            made.append(error)
    return made
