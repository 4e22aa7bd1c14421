"""Writing records as WebDataset shards: each tar whole or not at all, and the manifest last."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from itertools import islice
from multiprocessing import Pool
from os import cpu_count
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lasagna.datamodules.record_codec import encode_record, sample_key
from lasagna.datamodules.shard_set import (
    UNFINISHED_FILE,
    Shard,
    ShardSet,
    manifest_faults,
    part_of,
    read_manifest,
    shard_file,
    write_manifest,
    written_files,
)
from lasagna.errors import ConfigError, RecordError, ShardError
from lasagna.record import Manifest, Record

RECORDS_PER_SHARD = 500
EncodedRecord = tuple[str, dict[str, bytes]]


def write_shards(
    records: Iterable[Record],
    folder: Path,
    manifest: Manifest,
    *,
    total: int | None = None,
    split: str = "",
    records_per_shard: int = RECORDS_PER_SHARD,
    settings: Mapping[str, Any] | None = None,
) -> ShardSet:
    """Write records as shards with a manifest beside them.

    The same records give the same bytes. A manifest that is there already is removed first and written last, so that a
    half-written folder never looks whole.

    Args:
        records: The records in order; keys must be unique.
        folder: Where to write; made if it is not there.
        manifest: What holds for all records.
        total: How many records will come, for the progress bar.
        split: What is written, for the progress bar, e.g. "train".
        records_per_shard: Records in each shard but the last.
        settings: What the writer was asked for, kept in the manifest.

    Returns:
        What was written.

    Raises:
        RecordError: If two records have the same key, or one cannot be stored.
        ShardError: If there are no records, or the manifest's names do not fit together.
        ConfigError: If ``records_per_shard`` is not positive.
    """
    encoded = (_encode(record) for record in records)
    return _write(encoded, folder, manifest, total, split, records_per_shard, settings or {})


def write_parallel(
    make: Callable[[int], Record],
    count: int,
    folder: Path,
    manifest: Manifest,
    *,
    processes: int | None = None,
    split: str = "",
    records_per_shard: int = RECORDS_PER_SHARD,
    settings: Mapping[str, Any] | None = None,
) -> ShardSet:
    """Make records in several processes and write them as shards; the result does not depend on their number.

    A write that was stopped goes on after its last whole shard when it is asked for with the same settings, manifest
    and size of shards.

    Args:
        make: Makes the record of an index; a function of a module, or a partial one, so that processes can receive it.
        count: How many records to make.
        folder: Where to write; made if it is not there.
        manifest: What holds for all records.
        processes: How many processes make records; None for as many as there are cores, 0 for this process alone.
        split: What is written, for the progress bar, e.g. "train".
        records_per_shard: Records in each shard but the last.
        settings: All that the records depend on, kept in the manifest; a stopped write goes on only if there are some.

    Returns:
        What was written.

    Raises:
        RecordError: If two records have the same key, or one cannot be stored.
        ShardError: If ``count`` is 0, or the manifest's names do not fit together.
        ConfigError: If ``records_per_shard`` is not positive.
    """
    begun = _begun(ShardSet(folder, manifest, (), settings or {}), records_per_shard)
    left = range(sum(shard.records for shard in begun), count)
    write = partial(
        _write,
        folder=folder,
        manifest=manifest,
        total=count,
        split=split,
        records_per_shard=records_per_shard,
        settings=settings or {},
        begun=begun,
    )
    processes = (cpu_count() or 1) if processes is None else processes
    if processes < 2:
        return write(map(partial(_make, make), left))
    with Pool(processes) as pool:
        return write(pool.imap(partial(_make, make), left, chunksize=16))


def _make(make: Callable[[int], Record], index: int) -> EncodedRecord:
    return _encode(make(index))


def _encode(record: Record) -> EncodedRecord:
    return sample_key(record.key), encode_record(record)


def _begun(wanted: ShardSet, records_per_shard: int) -> tuple[Shard, ...]:
    """Return the whole shards of a write of the same settings that was stopped."""
    try:
        found = read_manifest(wanted.folder, UNFINISHED_FILE)
    except ShardError:
        return ()
    same = found.manifest == wanted.manifest and found.settings == json.loads(json.dumps(dict(wanted.settings)))
    whole = all(shard.records == records_per_shard for shard in found.shards) and not found.faults()
    return found.shards if wanted.settings and same and whole else ()


def _write(
    encoded: Iterable[EncodedRecord],
    folder: Path,
    manifest: Manifest,
    total: int | None,
    split: str,
    records_per_shard: int,
    settings: Mapping[str, Any],
    begun: tuple[Shard, ...] = (),
) -> ShardSet:
    if records_per_shard < 1:
        raise ConfigError(f"`records_per_shard` must be at least 1, got {records_per_shard}")
    if faults := manifest_faults(manifest):
        raise ShardError("\n".join(f"{folder}: the manifest's {fault}" for fault in faults))
    _clear(folder, begun)
    shard_set = ShardSet(folder, manifest, begun, settings)
    counted = _counted(encoded, total, shard_set.records, f"writing {split or folder.name}")
    stream = _unique(counted, {key for shard in begun for key in _keys(folder / shard.file)})
    while shard := _write_shard(stream, folder / shard_file(len(shard_set.shards)), records_per_shard):
        shard_set = replace(shard_set, shards=(*shard_set.shards, shard))
        write_manifest(shard_set, UNFINISHED_FILE)
    if not shard_set.shards:
        raise ShardError(f"{folder}: there were no records to write; check where they come from")
    write_manifest(shard_set)
    (folder / UNFINISHED_FILE).unlink()
    return shard_set


def _clear(folder: Path, begun: Sequence[Shard]) -> None:
    """Remove what an earlier write left, except for the shards that are gone on with."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {shard.file for shard in begun} | ({UNFINISHED_FILE} if begun else set())
    for path in written_files(folder):
        if path.name not in kept:
            path.unlink()


def _write_shard(stream: Iterator[EncodedRecord], path: Path, limit: int) -> Shard | None:
    records = list(islice(stream, limit))
    if not records:
        return None
    unfinished = part_of(path)
    with tarfile.open(unfinished, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for key, files in records:
            _add(tar, key, files)
    content = unfinished.read_bytes()
    unfinished.replace(path)
    return Shard(path.name, len(records), len(content), sha256(content).hexdigest())


def _add(tar: tarfile.TarFile, key: str, files: dict[str, bytes]) -> None:
    for extension, data in files.items():
        # besides name and size only the defaults of TarInfo are stored (mode 644, time 0, no owner): same bytes always
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        tar.addfile(info, BytesIO(data))


def _keys(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return {name.split(".", 1)[0] for name in tar.getnames()}


def _unique(encoded: Iterable[EncodedRecord], seen: set[str]) -> Iterator[EncodedRecord]:
    for key, files in encoded:
        if key in seen:
            raise RecordError(f"record {key}: another record has the same key; keys must be unique within a folder")
        seen.add(key)
        yield key, files


def _counted(encoded: Iterable[EncodedRecord], total: int | None, done: int, label: str) -> Iterator[EncodedRecord]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(label, total=total, completed=done)
        for item in encoded:
            yield item
            progress.advance(task)
