"""Convert a data set, as it was released, to shards on disk, without photographs that other shards hold."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from rich.console import Console

from lasagna.core.images import check_channels, check_window
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.preflight import check_files, check_unpacked, choose_splits, packed
from lasagna.datamodules.converters.common.stored_images import with_images
from lasagna.datamodules.shards.codec import check_storable
from lasagna.datamodules.shards.earlier import Limits, finished_write
from lasagna.datamodules.shards.folder import LocalFolder
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, ShardSet, read_manifest
from lasagna.datamodules.shards.tally import (
    UNCLEAR,
    InputFingerprint,
    ReadResult,
    Skipped,
    WriteStats,
    content_stamp,
)
from lasagna.datamodules.shards.writer import BYTES_PER_SHARD, only_writer, write_parallel
from lasagna.errors import ConfigError, LasagnaError, NoRecordsError, RecordError, ShardError, check_counts

FEWEST, MOST, SHARDS = 50, 500, 64
"""Bounds of the records in a shard; within them, the number that makes about ``SHARDS`` shards."""

REASON = "photograph that other shards have (`--without`)"

BROKEN = "missing or broken files"

_NUMBER = re.compile(r"(?:^|[_/])(\d{12})(?:$|_|~)")


def convert(
    converter: Converter,
    target: Path,
    splits: Sequence[str] | str = (),
    broken: Literal["stop", "skip"] = "stop",
    processes: int | None = None,
    records_per_shard: int | None = None,
    bytes_per_shard: int = BYTES_PER_SHARD,
    without: Sequence[str] | str = (),
    window: tuple[float | str, float | str] | None = None,
    channels: list[int] | None = None,
) -> dict[str, ShardSet]:
    """Write a data set, as it was released, as shards of records, one folder for each split.

    A stopped conversion resumes after its last complete shard when it is run again. It is refused if it reads from
    another source, or if what it has read so far has changed. Splits that are finished stay as they are; they are
    refused if their options or inputs have changed.

    Args:
        converter: The data set and where it is.
        target: Where the folders of the splits go.
        splits: Names of the splits to write, as a list or separated by commas; empty for all.
        broken: What to do with files that are missing or cannot be used: "stop" with an error, or "skip" and count.
        processes: How many processes read; None for one per core, 0 to read in this process.
        records_per_shard: Records in each shard but the last; None for a number that makes about 64 shards, but 50 to
            500 records in each. There should be at least as many shards as workers.
        bytes_per_shard: Size in bytes at which a shard is full even with fewer records.
        without: Folders of shards, as a list or separated by commas. Photographs of COCO in them are left out and
            counted, so that a model trained on the new shards can be scored on these.
        window: Values of images of more than 8 bits that become black and white, e.g. "[0, 4095]", or percentages of
            each image's pixels, e.g. "[2%, 98%]"; by default those of all 16 bits.
        channels: Channels of images that become red, green and blue, or the one that becomes grey, counted from 0, e.g.
            "[3, 2, 1]"; needed for images of more than three channels.

    Returns:
        What was written, by split.

    Raises:
        LayoutError: If the source does not have the expected layout, or files that belong together do not pair up.
        RecordError: If a file cannot be used, or the window or the channels are none.
        NoRecordsError: If a split has no records left, or images without any mask, phrase or question; the others are
            written before.
        ShardError: If ``target`` holds anything but finished or unfinished shards of the same splits of the same data
            set, or an unfinished conversion of another source or of this one before it changed; or ``without`` names
            folders without shards.
        ConfigError: If a split is unknown, ``without`` names shards of photographs that are not from COCO, or a limit
            of the shards is not positive.
    """
    check_counts(records_per_shard=records_per_shard, bytes_per_shard=bytes_per_shard)
    check_unpacked(converter)
    seen = None if window is None else check_window(window), None if channels is None else check_channels(channels)
    given: dict[str, Any] = {"window": window, "channels": channels}
    options = {name: list(value) for name, value in given.items() if value is not None}
    others = other_shards(_listed(without))
    with ExitStack() as locks:
        if target.is_dir():
            locks.enter_context(only_writer(target))
        try:
            chosen, errors = choose_splits(converter, target, _listed(splits), broken)
            if broken == "stop":
                check_files(chosen)
        except LayoutError as error:
            raise LayoutError(f"{error}{packed(converter)}") from error
        # a target that was not there is made only now, after the checks of the source
        locks.enter_context(only_writer(target))
        written = {}
        for name, part in chosen.items():
            try:
                settings = {"split": name, "broken": broken, **options, **others.settings()}
                split, place = others.taken_from(with_images(part, *seen)), target / name
                written[name] = _write(converter, split, place, settings, processes, records_per_shard, bytes_per_shard)
            except NoRecordsError as error:
                errors[name] = error
        errors.update(_withdraw_bare(written, target))
    if errors:
        done = [f"{', '.join(written)} were written, {', '.join(errors)} were not"] if written else []
        raise NoRecordsError("\n".join([*map(str, errors.values()), *done]))
    return written


def _withdraw_bare(written: dict[str, ShardSet], target: Path) -> dict[str, LasagnaError]:
    """Take back splits that have nothing to ask for, unless it is that names are absent which other splits have.

    Args:
        written: The splits that were written; those taken back are removed.
        target: The folder of the splits; the manifests of those taken back are removed.

    Returns:
        Why each of them was taken back.
    """
    bare = {name: part for name, part in written.items() if part.tally.is_bare}
    if len(bare) < len(written):
        bare = {name: part for name, part in bare.items() if _lost(part.tally)}
    errors: dict[str, LasagnaError] = {}
    for name, part in bare.items():
        why = "; ".join(part.tally.lines()[1:]) or "nothing is annotated on them"
        errors[name] = NoRecordsError(
            f"{target / name}: none of its {part.records} images has a mask, a phrase or a question; {why}; boxes and "
            "points are no masks: draw masks, for example with a segmentation tool that boxes prompt"
        )
        (target / name / MANIFEST_FILE).unlink()
        del written[name]
    return errors


def _lost(tally: WriteStats) -> bool:
    """Return whether there were annotations without a mask, rather than images without annotations."""
    return bool(tally.entries.get(UNCLEAR) or tally.left_out.keys() - {BROKEN, REASON})


def _listed(names: Sequence[str] | str) -> list[str]:
    return [name for name in (names.split(",") if isinstance(names, str) else names) if name]


@dataclass(frozen=True)
class _Lenient:
    """Reads items of a split; items with broken files, or that cannot be stored, are left out."""

    split: Split

    def __call__(self, index: int) -> ReadResult:
        try:
            reading = self.split.reading(index)
            if reading.record is not None:
                check_storable(reading.record)
            return reading
        except RecordError as error:
            return ReadResult(None, (Skipped(BROKEN, str(error)),))


def _write(
    converter: Converter,
    split: Split,
    folder: Path,
    settings: Mapping[str, Any],
    processes: int | None,
    records_per_shard: int | None,
    bytes_per_shard: int,
) -> ShardSet:
    annotations = {path.name: content_stamp(path) for path in split.annotations}
    # the files of single items are checked by ``Split.stamp``
    contents = {**annotations, "items": f"{len(split)} items, sha256 {split.digest()}"}
    settings = {**converter.settings(), "converter": type(converter).__name__, **settings}
    asked = records_per_shard is not None or bytes_per_shard != BYTES_PER_SHARD
    usual = min(MOST, max(FEWEST, len(split) // SHARDS)) if records_per_shard is None else records_per_shard
    finished = finished_write(
        ShardSet(LocalFolder(folder), split.manifest, (), settings),
        Limits(usual, bytes_per_shard) if asked else None,
        len(split),
        InputFingerprint(split.stamp, contents),
    )
    if finished is not None:
        _say(f"{folder}: {finished.records} images, finished before and left as they are", *split.notes)
        return finished
    written = write_parallel(
        _Lenient(split) if settings["broken"] == "skip" else split.reading,
        len(split),
        folder,
        split.manifest,
        processes=processes,
        split=f"{split.manifest.name} {folder.name}",
        records_per_shard=usual,
        bytes_per_shard=bytes_per_shard,
        settings=settings,
        places=converter.places(),
        contents=contents,
        stamp=split.stamp,
    )
    _say(f"{folder}: {written.records} images", *written.tally.lines(), *split.notes)
    return written


def _say(*lines: str) -> None:
    Console().print("\n  ".join(lines), markup=False, highlight=False, soft_wrap=True)


def coco_number(key: str) -> str | None:
    """Return the number of a COCO photograph from a record's key; it is the same in the releases of 2014 and 2017.

    Args:
        key: E.g. "000000000009", "COCO_train2014_000000000009" or "000000000009~2".

    Returns:
        Twelve digits, or None if the key does not belong to a COCO photograph.
    """
    found = _NUMBER.search(key)
    return found[1] if found else None


@dataclass(frozen=True)
class OtherShards:
    """Photographs to leave out of a conversion.

    Args:
        folders: The folders of the shards that hold them.
        numbers: Their COCO numbers.
    """

    folders: tuple[str, ...]
    numbers: frozenset[str]

    def settings(self) -> dict[str, Any]:
        """Return what must be the same for a stopped conversion to resume; empty if there are no other shards."""
        digest = sha256(" ".join(sorted(self.numbers)).encode()).hexdigest()
        return {"without": [*self.folders, f"sha256 {digest}"]} if self.folders else {}

    def taken_from(self, split: Split) -> Split:
        """Return the split with these photographs left out and counted."""
        return replace(split, read=ReadOthers(split.read, self.numbers)) if self.folders else split


@dataclass(frozen=True)
class ReadOthers:
    """Reads items other than certain photographs.

    Args:
        read: Reads an item.
        numbers: COCO numbers of the photographs to leave out.
    """

    read: Callable[[Any], ReadResult]
    numbers: frozenset[str]

    def __call__(self, item: Any) -> ReadResult:  # noqa: ANN401
        """Read an item, unless it is one of the photographs.

        Raises:
            RecordError: If one of its files is broken or inconsistent with the others.
        """
        key = str(getattr(item, "key", item))
        if coco_number(key) in self.numbers:
            return ReadResult(None, (Skipped(REASON, key),))
        return self.read(item)


def other_shards(folders: Sequence[str]) -> OtherShards:
    """List the photographs in shards; only the names of the files in the shards are read.

    Args:
        folders: Folders of shards on disk.

    Raises:
        ShardError: If a folder has no shards, or a broken one.
        ConfigError: If a folder has no photographs of COCO.
    """
    numbers: set[str] = set()
    for folder in folders:
        if not (found := _numbers(Path(folder))):
            raise ConfigError(f"without: {folder} has no photographs of COCO, which are identified by their numbers")
        numbers |= found
    return OtherShards(tuple(folders), frozenset(numbers))


def _numbers(folder: Path) -> set[str]:
    numbers = set()
    for shard in read_manifest(folder).shards:
        try:
            with tarfile.open(folder / shard.file) as tar:
                numbers |= {coco_number(unquote(name.partition(".")[0])) for name in tar.getnames()}
        except (OSError, tarfile.TarError) as error:
            raise ShardError(f"{folder / shard.file}: the shard cannot be read ({error}); convert it again") from error
    return {number for number in numbers if number}
