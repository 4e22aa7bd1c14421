"""Writing records as WebDataset shards: each shard atomically, the manifest last, and stopped writes continued."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lasagna.core.locks import locked_folder
from lasagna.core.record import Manifest, Record
from lasagna.core.workers import usable_cores
from lasagna.datamodules.shards.earlier import Limits, stopped_write
from lasagna.datamodules.shards.encoding import EncodedRecord, Make, encode, encode_parallel
from lasagna.datamodules.shards.folder import LocalFolder, Shard
from lasagna.datamodules.shards.key_index import KeyIndex
from lasagna.datamodules.shards.manifest import (
    UNFINISHED_FILE,
    ShardSet,
    manifest_errors,
    shard_file,
    write_manifest,
    written_files,
)
from lasagna.datamodules.shards.shard_file import ShardFile
from lasagna.datamodules.shards.tally import InputFingerprint, ReadResult, Stamp, WriteStats
from lasagna.errors import NoRecordsError, RecordError, ShardError

RECORDS_PER_SHARD = 500
BYTES_PER_SHARD = 512 << 20
STAMPS = "stamps"
"""Key of the items' fingerprint among the inputs of an unfinished write."""


def write_shards(
    records: Iterable[Record | ReadResult],
    folder: Path,
    manifest: Manifest,
    *,
    total: int | None = None,
    split: str = "",
    records_per_shard: int = RECORDS_PER_SHARD,
    bytes_per_shard: int = BYTES_PER_SHARD,
    settings: Mapping[str, Any] | None = None,
) -> ShardSet:
    """Write records as shards with a manifest.

    The same records give the same bytes. An existing manifest is removed first and the new one written last, so that an
    incomplete folder never looks complete.

    Args:
        records: The records in order, alone or with what was left out; keys must be unique.
        folder: Folder to write to; created if missing.
        manifest: Description of the data set.
        total: Number of records, for the progress bar.
        split: Name of what is written, for the progress bar, e.g. "train".
        records_per_shard: Records in each shard except the last, unless they are large.
        bytes_per_shard: Bytes at which a shard is full even with fewer records.
        settings: The writer's settings, stored in the manifest.

    Returns:
        The shards.

    Raises:
        RecordError: If two records have the same key, or one cannot be stored.
        NoRecordsError: If there are no records.
        ShardError: If the manifest contradicts itself, or the folder cannot be written.
        BusyError: If another process is writing into the folder.
        ConfigError: If a limit of the shards is not positive.
    """
    start = ShardSet(LocalFolder(folder), manifest, (), settings or {})
    limits = Limits(records_per_shard, bytes_per_shard)
    _check(manifest, folder)
    with only_writer(folder):
        return _write(map(encode, records), folder, start, total, split, limits)


@contextmanager
def only_writer(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Keep other processes from writing into a folder of shards meanwhile.

    Args:
        folder: The folder; created if missing.
        patience: Seconds to wait for another process that writes there.

    Raises:
        BusyError: If another process is still writing there.
        ShardError: If the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"{folder}: the folder cannot be created ({error.strerror}); choose another") from error
    busy = f"another process is writing shards into {folder}; wait until it ends, or choose another folder"
    with locked_folder(folder, busy, patience):
        yield


def write_parallel(
    make: Make,
    count: int,
    folder: Path,
    manifest: Manifest,
    *,
    processes: int | None = None,
    split: str = "",
    records_per_shard: int = RECORDS_PER_SHARD,
    bytes_per_shard: int = BYTES_PER_SHARD,
    settings: Mapping[str, Any] | None = None,
    places: Mapping[str, str] | None = None,
    contents: Mapping[str, str] | None = None,
    stamp: Stamp = str,
) -> ShardSet:
    """Make records in several processes and write them as shards; the result does not depend on their number.

    A stopped write continues after its last complete shard if settings, manifest and size of the shards are the same.

    Args:
        make: Makes the record of an index; must be picklable, and is sent to each process once.
        count: Number of indices.
        folder: Folder to write to; created if missing.
        manifest: Description of the data set.
        processes: Number of processes that make records; None for the number of cores, 0 for this process only.
        split: Name of what is written, for the progress bar, e.g. "train".
        records_per_shard: Records in each shard except the last, unless they are large.
        bytes_per_shard: Bytes at which a shard is full even with fewer records.
        settings: All settings that the records depend on, stored in the manifest; without any, a stopped write starts
            over.
        places: Folders and files that the records are made from; kept until the write is finished.
        contents: Checksums of inputs of the records; kept as one checksum when the write is finished.
        stamp: Returns a text that identifies the inputs of an index; a fingerprint of those in complete shards is kept.

    Returns:
        The shards.

    Raises:
        RecordError: If two records have the same key, or one cannot be stored.
        NoRecordsError: If there are no records.
        ShardError: If the manifest contradicts itself, the folder cannot be written, or it holds a stopped write with
            other inputs.
        BusyError: If another process is writing into the folder.
        ConfigError: If a limit of the shards is not positive.
    """
    limits = Limits(records_per_shard, bytes_per_shard)
    reads = {**(places or {}), **(contents or {})}
    wanted = ShardSet(LocalFolder(folder), manifest, (), settings or {}, reads=reads)
    _check(manifest, folder)
    with only_writer(folder):
        return _write_parallel(make, count, folder, wanted, processes, split, limits, InputFingerprint(stamp, contents))


def _write_parallel(
    make: Make,
    count: int,
    folder: Path,
    wanted: ShardSet,
    processes: int | None,
    split: str,
    limits: Limits,
    inputs: InputFingerprint,
) -> ShardSet:
    """Write the records after those of a stopped write."""
    start = stopped_write(wanted, limits)
    if start.shards and inputs.up_to(start.tally.taken) != start.reads.get(STAMPS):
        raise ShardError(
            f"{folder}: a stopped write is here, and the inputs of its first {start.tally.taken} items have changed "
            "since (size or time of a file); remove the folder or choose another to start over"
        )
    remaining = range(start.tally.taken, count)
    processes = usable_cores() if processes is None else processes
    if processes < 2:
        return _write(map(encode, map(make, remaining)), folder, start, count, split, limits, inputs)
    with encode_parallel(make, remaining, processes) as encoded:
        return _write(encoded, folder, start, count, split, limits, inputs)


def _write(
    encoded: Iterable[EncodedRecord],
    folder: Path,
    start: ShardSet,
    total: int | None,
    split: str,
    limits: Limits,
    inputs: InputFingerprint | None = None,
) -> ShardSet:
    """Write the records as shards after those of ``start``, then the manifest."""
    _clear(folder, start.shards)
    shard_set, keys = start, KeyIndex()
    for written in start.shards:
        for key in _keys(folder / written.file):
            keys.add(key)
    stream = _unique(_counted(encoded, total, start.tally, f"writing {split or folder.name}"), keys)
    while shard := _write_shard(stream, folder / shard_file(len(shard_set.shards)), limits):
        reads = {**shard_set.reads, STAMPS: inputs.up_to(shard_set.tally.taken)} if inputs else {}
        shard_set = replace(shard_set, shards=(*shard_set.shards, shard), reads=reads)
        write_manifest(shard_set, folder, UNFINISHED_FILE)
    if not shard_set.shards:
        why = "; ".join(shard_set.tally.lines()[1:]) or "check where they come from"
        raise NoRecordsError(f"{folder}: there were no records to write; {why}")
    finished = replace(
        shard_set, reads={}, inputs=inputs.whole(shard_set.tally.taken) if inputs and inputs.contents else ""
    )
    write_manifest(finished, folder)
    (folder / UNFINISHED_FILE).unlink()
    return finished


def _check(manifest: Manifest, folder: Path) -> None:
    if errors := manifest_errors(manifest):
        raise ShardError("\n".join(f"{folder}: the manifest's {error}" for error in errors))


def _clear(folder: Path, kept: Sequence[Shard]) -> None:
    """Remove what an earlier write left in the folder, except for some shards."""
    names = {shard.file for shard in kept} | ({UNFINISHED_FILE} if kept else set())
    for path in written_files(folder):
        if path.name not in names:
            path.unlink()


def _keys(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return {name.split(".", 1)[0] for name in tar.getnames()}


def _counted(
    encoded: Iterable[EncodedRecord], total: int | None, tally: WriteStats, label: str
) -> Iterator[EncodedRecord]:
    """Count the records in the tally and on a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(label, total=total, completed=tally.taken)
        for item in encoded:
            tally.add(item.entries, item.left_out)
            yield item
            progress.advance(task)


def _unique(encoded: Iterable[EncodedRecord], seen: KeyIndex) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Return keys and files of the records that are not left out, and check that no key occurs twice."""
    for item in encoded:
        if item.files is None:
            continue
        if seen.add(item.key) is not None:
            raise RecordError(
                f"record {unquote(item.key)}: another record has the same key; keys must be unique within a folder"
            )
        yield item.key, item.files


def _write_shard(stream: Iterator[tuple[str, dict[str, bytes]]], path: Path, limits: Limits) -> Shard | None:
    """Write records until the shard is full; None if there are no records left."""
    first = next(stream, None)
    if first is None:
        return None
    file = ShardFile(path)
    try:
        file.add(*first)
        while not limits.reached(file.records, file.bytes) and (following := next(stream, None)):
            file.add(*following)
        return file.close()
    except BaseException:
        file.discard()
        raise
