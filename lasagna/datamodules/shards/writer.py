"""Writing records as WebDataset shards: each tar whole or not at all, and the manifest last."""

from __future__ import annotations

import json
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from io import BytesIO
from itertools import islice
from multiprocessing.pool import Pool
from os import cpu_count
from pathlib import Path
from signal import SIG_IGN, SIGINT, signal
from typing import IO, Any, cast
from urllib.parse import unquote

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.codec import encode_record, sample_key
from lasagna.datamodules.shards.folder import LocalFolder, Shard
from lasagna.datamodules.shards.manifest import (
    UNFINISHED_FILE,
    ShardSet,
    manifest_faults,
    part_of,
    read_shard_set,
    shard_file,
    write_manifest,
    written_files,
)
from lasagna.datamodules.shards.tally import InputFingerprint, ReadResult, Skipped, Stamp, WriteStats, count_entries
from lasagna.errors import ConfigError, LasagnaError, NoRecordsError, RecordError, ShardError


class ShardFile:
    """A shard that grows record by record, under another name until it is whole.

    Args:
        path: Where it goes.

    Raises:
        ShardError: If it cannot be written, e.g. since the disk is full; as all methods do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        self.bytes = 0
        self._digest = sha256()
        with self._told():
            self._file = part_of(path).open("wb")
            # all that writing a tar asks of a file is `write` and `tell`
            self._tar = tarfile.open(fileobj=cast(IO[bytes], self), mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115

    def write(self, data: bytes) -> int:
        """Take the next bytes of the tar."""
        self._digest.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Return how many bytes there are."""
        return self.bytes

    def add(self, key: str, files: Mapping[str, bytes]) -> None:
        """Add the files of a record, given by extension."""
        with self._told():
            _add(self._tar, key, files)
        self.records += 1

    def close(self) -> Shard:
        """Finish the shard and give it its name."""
        with self._told():
            self._tar.close()
            self._file.close()
            part_of(self.path).replace(self.path)
        return Shard(self.path.name, self.records, self.bytes, self._digest.hexdigest())

    def discard(self) -> None:
        """Remove what is not whole."""
        with suppress(OSError):
            self._file.close()
        part_of(self.path).unlink(missing_ok=True)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ShardError(
                f"{self.path}: the shard could not be written ({error}); make room and run the same again"
            ) from error


def _add(tar: tarfile.TarFile, key: str, files: Mapping[str, bytes]) -> None:
    for extension, data in files.items():
        # besides name and size only the defaults of TarInfo are stored (mode 644, time 0, no owner): same bytes always
        info = tarfile.TarInfo(f"{key}.{extension}")
        info.size = len(data)
        tar.addfile(info, BytesIO(data))


RECORDS_PER_SHARD = 500
BYTES_PER_SHARD = 512 << 20
CHUNK = 4
"""How many records a process makes before it hands them over."""
STAMPS = "stamps"
"""Where, among what an unfinished write reads, the checksum over its items' stamps is."""
AHEAD = 2
"""How many times as many processes as there are may be at work, or have their records wait to be written."""

Make = Callable[[int], Record | ReadResult]
"""Makes what comes of an index: a record, or a reading that says what was left out."""


@dataclass(frozen=True)
class EncodedRecord:
    """One item on its way into a shard.

    Args:
        key: Name of its files.
        files: Its files by extension, or None if it is left out.
        entries: How many annotations of each kind it has.
        left_out: What was left out of it.
    """

    key: str = ""
    files: dict[str, bytes] | None = None
    entries: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[Skipped, ...] = ()


@dataclass(frozen=True)
class _Limits:
    """How large shards grow: to so many records, or until they hold so many bytes."""

    records: int
    bytes: int

    def __post_init__(self) -> None:
        for name, value in (("records_per_shard", self.records), ("bytes_per_shard", self.bytes)):
            if value < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {value}")

    def reached(self, records: int, size: int) -> bool:
        return records >= self.records or size >= self.bytes


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
    """Write records as shards with a manifest beside them.

    The same records give the same bytes. A manifest that is there already is removed first and written last, so that a
    half-written folder never looks whole.

    Args:
        records: The records in order, or readings with what was left out; keys must be unique.
        folder: Where to write; made if it is not there.
        manifest: What holds for all records.
        total: How many records will come, for the progress bar.
        split: What is written, for the progress bar, e.g. "train".
        records_per_shard: Records in each shard but the last, unless they are large.
        bytes_per_shard: At how many bytes a shard is full before that.
        settings: What the writer was asked for, kept in the manifest.

    Returns:
        What was written.

    Raises:
        RecordError: If two records have the same key, or one cannot be stored.
        NoRecordsError: If there are no records.
        ShardError: If the manifest's names do not fit together.
        ConfigError: If a limit of the shards is not positive.
    """
    begun = ShardSet(LocalFolder(folder), manifest, (), settings or {})
    limits = _Limits(records_per_shard, bytes_per_shard)
    return _write(map(_encode, records), folder, begun, total, split, limits)


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
    reads: Mapping[str, str] | None = None,
    stamp: Stamp = str,
) -> ShardSet:
    """Make records in several processes and write them as shards; the result does not depend on their number.

    A write that was stopped goes on after its last whole shard when it is asked for with the same settings, manifest
    and size of shards.

    Args:
        make: Makes the record of an index; something that processes can receive, which they do once.
        count: How many indices there are.
        folder: Where to write; made if it is not there.
        manifest: What holds for all records.
        processes: How many processes make records; None for as many as there are cores, 0 for this process alone.
        split: What is written, for the progress bar, e.g. "train".
        records_per_shard: Records in each shard but the last, unless they are large.
        bytes_per_shard: At how many bytes a shard is full before that.
        settings: All that the records depend on, kept in the manifest; a stopped write goes on only if there are some.
        reads: What the records are made from, e.g. folders and a checksum; kept until the write is finished.
        stamp: Says what one of the records is made from; kept as a checksum over all that are in whole shards.

    Returns:
        What was written.

    Raises:
        RecordError: If two records have the same key, or one cannot be stored.
        NoRecordsError: If there are no records.
        ShardError: If the manifest's names do not fit together, or a write was stopped in the folder
            that read something else, or had other stamps.
        ConfigError: If a limit of the shards is not positive.
    """
    limits = _Limits(records_per_shard, bytes_per_shard)
    begun = _begun(ShardSet(LocalFolder(folder), manifest, (), settings or {}, reads=reads or {}), limits)
    stamps = InputFingerprint(stamp)
    _check_stamps(begun, stamps)
    left = range(begun.tally.taken, count)
    write = partial(_write, folder=folder, begun=begun, total=count, split=split, limits=limits, stamps=stamps)
    processes = (cpu_count() or 1) if processes is None else processes
    if processes < 2:
        return write(map(_encode, map(make, left)))
    with Pool(processes, _hold, (make,)) as pool:
        return write(map(_raised, _in_order(pool, left, AHEAD * processes)))


_held: list[Make] = []
"""In a process of ``write_parallel``: what makes records, which would be slow to send with each index."""


def _hold(make: Make) -> None:
    # Ctrl-C reaches all processes; the first of them ends the others, which then need not say anything
    signal(SIGINT, SIG_IGN)
    _held[:] = [make]


def _in_order(pool: Pool, indices: range, ahead: int) -> Iterator[EncodedRecord | LasagnaError]:
    """Make records in a pool, only so many chunks ahead of whoever takes them: a disk may be slower than the cores."""
    chunks = (indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK))
    waiting = deque(pool.apply_async(_make_all, (chunk,)) for chunk in islice(chunks, ahead))
    while waiting:
        made = waiting.popleft().get()
        waiting.extend(pool.apply_async(_make_all, (chunk,)) for chunk in islice(chunks, 1))
        yield from made


def _make_all(indices: range) -> list[EncodedRecord | LasagnaError]:
    return [_make(index) for index in indices]


def _make(index: int) -> EncodedRecord | LasagnaError:
    # an error is handed over in its place, since raising it here would lose all that came with it
    try:
        return _encode(_held[0](index))
    except LasagnaError as error:
        return error


def _raised(made: EncodedRecord | LasagnaError) -> EncodedRecord:
    if isinstance(made, LasagnaError):
        raise made
    return made


def _encode(made: Record | ReadResult) -> EncodedRecord:
    reading = made if isinstance(made, ReadResult) else ReadResult(made)
    record = reading.record
    if record is None:
        return EncodedRecord(left_out=reading.left_out)
    return EncodedRecord(sample_key(record.key), encode_record(record), count_entries(record), reading.left_out)


def _begun(wanted: ShardSet, limits: _Limits) -> ShardSet:
    """Return what is there of a write of the same settings that was stopped: whole shards, or nothing."""
    try:
        found = read_shard_set(wanted.folder, UNFINISHED_FILE)
    except ShardError:
        return wanted
    same = found.manifest == wanted.manifest and found.settings == json.loads(json.dumps(dict(wanted.settings)))
    whole = not found.faults() and all(
        shard.records <= limits.records and limits.reached(shard.records, shard.bytes) for shard in found.shards
    )
    if not (wanted.settings and same and whole):
        return wanted
    if changed := [name for name, value in wanted.reads.items() if found.reads.get(name) != value]:
        was, now = (", ".join(f"{name} {part.reads.get(name)}" for name in changed) for part in (found, wanted))
        raise ShardError(
            f"{wanted.folder}: a write was stopped here that read something else: {was}; now it is {now}; give it the "
            "same again, or remove the folder or choose another to begin anew"
        )
    return replace(found, settings=wanted.settings)


def _check_stamps(begun: ShardSet, stamps: InputFingerprint) -> None:
    taken = begun.tally.taken
    if begun.shards and stamps.up_to(taken) != begun.reads.get(STAMPS):
        raise ShardError(
            f"{begun.folder}: a write was stopped here, and of what its first {taken} items were made from something "
            "has changed since (size or time of a file); remove the folder or choose another to begin anew"
        )


def _write(
    encoded: Iterable[EncodedRecord],
    folder: Path,
    begun: ShardSet,
    total: int | None,
    split: str,
    limits: _Limits,
    stamps: InputFingerprint | None = None,
) -> ShardSet:
    shard_set = begun
    if faults := manifest_faults(begun.manifest):
        raise ShardError("\n".join(f"{folder}: the manifest's {fault}" for fault in faults))
    _clear(folder, begun.shards)
    counted = _counted(encoded, total, begun.tally, f"writing {split or folder.name}")
    stream = _unique(counted, {key for shard in begun.shards for key in _keys(folder / shard.file)})
    while shard := _write_shard(stream, folder / shard_file(len(shard_set.shards)), limits):
        reads = {**shard_set.reads, STAMPS: stamps.up_to(shard_set.tally.taken)} if stamps else {}
        shard_set = replace(shard_set, shards=(*shard_set.shards, shard), reads=reads)
        write_manifest(shard_set, folder, UNFINISHED_FILE)
    if not shard_set.shards:
        why = "; ".join(shard_set.tally.lines()[1:]) or "check where they come from"
        raise NoRecordsError(f"{folder}: there were no records to write; {why}")
    write_manifest(replace(shard_set, reads={}), folder)
    (folder / UNFINISHED_FILE).unlink()
    return replace(shard_set, reads={})


def _clear(folder: Path, begun: Sequence[Shard]) -> None:
    """Remove what an earlier write left, except for the shards that are gone on with."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ShardError(f"{folder}: the folder cannot be made ({error.strerror}); choose another") from error
    kept = {shard.file for shard in begun} | ({UNFINISHED_FILE} if begun else set())
    for path in written_files(folder):
        if path.name not in kept:
            path.unlink()


def _write_shard(stream: Iterator[tuple[str, dict[str, bytes]]], path: Path, limits: _Limits) -> Shard | None:
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


def _keys(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return {name.split(".", 1)[0] for name in tar.getnames()}


def _unique(encoded: Iterable[EncodedRecord], seen: set[str]) -> Iterator[tuple[str, dict[str, bytes]]]:
    for item in encoded:
        if item.files is None:
            continue
        if item.key in seen:
            raise RecordError(
                f"record {unquote(item.key)}: another record has the same key; keys must be unique within a folder"
            )
        seen.add(item.key)
        yield item.key, item.files


def _counted(
    encoded: Iterable[EncodedRecord], total: int | None, tally: WriteStats, label: str
) -> Iterator[EncodedRecord]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn()) as progress:
        task = progress.add_task(label, total=total, completed=tally.taken)
        for item in encoded:
            tally.add(item.entries, item.left_out)
            yield item
            progress.advance(task)
