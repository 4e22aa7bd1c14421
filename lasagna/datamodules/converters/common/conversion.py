"""From a data set as it was released to shards on disk."""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from PIL import Image
from rich.console import Console

from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.files import (
    LayoutError,
    check_unpacked,
    is_plain,
    missing_files,
    packed,
    shorten,
)
from lasagna.datamodules.shards.codec import check_storable
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, ShardSet, read_manifest, written_files
from lasagna.datamodules.shards.tally import ReadResult, Skipped, content_stamp
from lasagna.datamodules.shards.writer import BYTES_PER_SHARD, write_parallel
from lasagna.errors import ConfigError, LasagnaError, NoRecordsError, RecordError, ShardError

_NUMBER = re.compile(r"(?:^|[_/])(\d{12})(?:$|_|~)")


def coco_number(key: str) -> str | None:
    """Return the number of a photograph of COCO within a record's key; the same in the releases of 2014 and of 2017.

    Args:
        key: E.g. "000000000009", "COCO_train2014_000000000009" or "000000000009~2".

    Returns:
        Twelve digits, or None if the key is not that of such a photograph.
    """
    found = _NUMBER.search(key)
    return found[1] if found else None


REASON = "photograph that other shards have (`--without`)"


@dataclass(frozen=True)
class OtherShards:
    """Photographs that are not to be converted.

    Args:
        folders: The folders of shards that have them.
        numbers: Their numbers.
    """

    folders: tuple[str, ...]
    numbers: frozenset[str]

    def settings(self) -> dict[str, Any]:
        """Return what a stopped conversion must find again, nothing if there are no other shards."""
        digest = sha256(" ".join(sorted(self.numbers)).encode()).hexdigest()
        return {"without": [*self.folders, f"sha256 {digest}"]} if self.folders else {}

    def taken_from(self, split: Split) -> Split:
        """Return a split whose items that are such photographs are left out and counted."""
        return replace(split, read=ReadOthers(split.read, self.numbers)) if self.folders else split


@dataclass(frozen=True)
class ReadOthers:
    """Reads items, but none of some photographs.

    Args:
        read: Reads an item.
        numbers: Numbers of the photographs.
    """

    read: Callable[[Any], ReadResult]
    numbers: frozenset[str]

    def __call__(self, item: Any) -> ReadResult:  # noqa: ANN401
        """Read an item, unless it is one of the photographs.

        Raises:
            RecordError: If one of its files is broken or does not fit the others.
        """
        key = str(getattr(item, "key", item))
        if coco_number(key) in self.numbers:
            return ReadResult(None, (Skipped(REASON, key),))
        return self.read(item)


def other_shards(folders: Sequence[str]) -> OtherShards:
    """Read which photographs some shards have; of the shards, only the names of files are looked at.

    Args:
        folders: Folders of shards on disk.

    Raises:
        ShardError: If one holds no shards, or a broken one.
        ConfigError: If one has no photographs of COCO.
    """
    numbers: set[str] = set()
    for folder in folders:
        if not (found := _numbers(Path(folder))):
            raise ConfigError(f"without: {folder} has no photographs of COCO, which are known by their numbers")
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


KEPT = ("JPEG", "MPO", "PNG", "BMP", "WEBP")
"""Formats that shards hold, as Pillow calls them (those of several pictures in one are JPEG to all others)."""


def choose_splits(
    converter: Converter, target: Path, names: Sequence[str], broken: str
) -> tuple[dict[str, Split], dict[str, LasagnaError]]:
    """Return the splits to write, and where broken files are skipped, why others cannot be written.

    Args:
        converter: The data set.
        target: Where the folders of the splits go.
        names: Names of the splits that are wanted; none for all.
        broken: "stop" or "skip".

    Raises:
        LayoutError: If a split cannot be written, and faults stop or all are so.
        ShardError: If the target holds anything else than shards of these splits.
        ConfigError: If a split is unknown.
    """
    parts = converter.splits()
    if strange := [name for name in parts if not is_plain(name)]:
        raise LayoutError(f"source: the split {strange[0]!r} cannot be the name of a folder; call it otherwise")
    _check_target(target, parts)
    if unknown := sorted(set(names) - set(parts)):
        raise ConfigError(f"splits: {shorten(unknown)} are not there; there are {', '.join(parts)}")
    chosen: dict[str, Split] = {}
    faults: dict[str, LasagnaError] = {}
    for name in (name for name in parts if not names or name in names):
        try:
            chosen[name] = _checked(name, parts)
        except LayoutError as error:
            if broken == "stop":
                raise LayoutError(f"{error}{_way_out(parts, names)}") from error
            faults[name] = error
    if not chosen:
        raise LayoutError("\n".join(map(str, faults.values())))
    for name, split in chosen.items():
        _check_same(target / name, split.manifest.name)
    return chosen, faults


def check_files(splits: Mapping[str, Split]) -> None:
    """Check that the files of some splits are there, and that images are not called as of a format that is not kept.

    Raises:
        LayoutError: If some are not there or cannot be kept.
    """
    for name, split in splits.items():
        if missing := missing_files(split.files):
            raise LayoutError(
                f"source: {len(missing)} of the {len(split.files)} files that the split {name!r} needs are not there "
                f"({shorten(list(map(str, missing)))}); unpack all of them, or go on without them by `--broken skip`"
            )
        images = (image for item in split.items if isinstance(image := getattr(item, "image", None), Path))
        if strange := [path for path in images if not _may_be_kept(path)]:
            raise LayoutError(
                f"source: {len(strange)} images of the split {name!r} are in a format that shards cannot hold "
                f"({shorten(list(map(str, strange)))}); store them as PNG and name those, or go on without them by "
                "`--broken skip`"
            )


def _may_be_kept(path: Path) -> bool:
    return Image.registered_extensions().get(path.suffix.lower(), "PNG") in KEPT


def _check_target(target: Path, splits: Iterable[str]) -> None:
    others = sorted(path.parent.name for path in target.glob(f"*/{MANIFEST_FILE}") if path.parent.name not in splits)
    if others:
        raise ShardError(
            f"target: {target} holds {shorten(others)} of another conversion, which may share images with this one; "
            "choose another folder or remove it first"
        )
    for folder in (target / split for split in splits):
        foreign = sorted(path.name for path in {*folder.glob("*")} - written_files(folder))
        if foreign:
            raise ShardError(f"target: {folder} holds other files ({shorten(foreign)}); choose another folder")


def _way_out(parts: Mapping[str, Split], names: Sequence[str]) -> str:
    return "" if names or len(parts) < 2 else f".\nOr take a part of the splits ({', '.join(parts)}) by `--splits`"


def _checked(name: str, parts: Mapping[str, Split]) -> Split:
    split = parts[name]
    counts = Counter(item.key for item in split.items if hasattr(item, "key"))
    if doubled := [str(key) for key, count in counts.items() if count > 1]:
        raise LayoutError(
            f"source: in the split {name!r} {len(doubled)} images are listed several times ({shorten(doubled)}); keep "
            "one entry of each"
        )
    return split


def _check_same(folder: Path, name: str) -> None:
    """Check that a folder holds no finished shards of another data set."""
    try:
        there = read_manifest(folder).manifest.name
    except ShardError:
        return
    if there != name:
        raise ShardError(
            f"target: {folder} holds the shards of {there!r}, not of {name!r}; choose another folder or remove it first"
        )


FEWEST, MOST, SHARDS = 50, 500, 64
"""Records in a shard: so many that there are about ``SHARDS`` of them, within these bounds."""


def convert(
    converter: Converter,
    target: Path,
    splits: Sequence[str] | str = (),
    broken: Literal["stop", "skip"] = "stop",
    processes: int | None = None,
    records_per_shard: int | None = None,
    bytes_per_shard: int = BYTES_PER_SHARD,
    without: Sequence[str] | str = (),
) -> dict[str, ShardSet]:
    """Write a data set, as it was released, as shards of records, one folder a split.

    A conversion that was stopped goes on after its last whole shard when it is asked for again; one of another source,
    or of one that has changed where it was read, is refused.

    Args:
        converter: Which data set it is, and where.
        target: Where the folders of the splits go.
        splits: Names of the splits to write, a list or with commas between them; none for all.
        broken: What to do with files that are missing or cannot be used: "stop" with an error, or "skip" and count.
        processes: How many processes read; None for as many as there are cores, 0 for this process alone.
        records_per_shard: Records in each shard but the last; None for a number that makes about 64 shards, but 50 to
            500 records in each. There should be at least as many shards as workers.
        bytes_per_shard: At how many bytes a shard is full before that.
        without: Folders of shards, a list or with commas between them; photographs of COCO that they have are left out
            and counted, so that what is trained here can be scored there.

    Returns:
        What was written, by split.

    Raises:
        LayoutError: If the source is not laid out as expected, or files that belong together do not pair up.
        RecordError: If a file cannot be used.
        NoRecordsError: If nothing is left of a split; the others are written before.
        ShardError: If ``target`` holds anything else than shards of the same splits of the same data set, be they whole
            or left unfinished, or was left unfinished by a conversion of another source, or of this one before it
            changed; or ``without`` names no shards.
        ConfigError: If a split is unknown, ``without`` names shards of other photographs than COCO's, or a limit of the
            shards is not positive.
    """
    check_unpacked(converter)
    others = other_shards(_listed(without))
    try:
        chosen, faults = choose_splits(converter, target, _listed(splits), broken)
        if broken == "stop":
            check_files(chosen)
    except LayoutError as error:
        raise LayoutError(f"{error}{packed(converter)}") from error
    written = {}
    for name, part in chosen.items():
        try:
            settings = {"split": name, "broken": broken, **others.settings()}
            split, folder = others.taken_from(part), target / name
            written[name] = _write(converter, split, folder, settings, processes, records_per_shard, bytes_per_shard)
        except NoRecordsError as error:
            faults[name] = error
    if faults:
        done = f"{', '.join(written)} were written, " if written else ""
        raise NoRecordsError("\n".join([*map(str, faults.values()), f"{done}{', '.join(faults)} were not"]))
    return written


def _listed(names: Sequence[str] | str) -> list[str]:
    return [name for name in (names.split(",") if isinstance(names, str) else names) if name]


@dataclass(frozen=True)
class _Lenient:
    """Reads items of a split; those with broken files, or which cannot be stored, are left out."""

    split: Split

    def __call__(self, index: int) -> ReadResult:
        try:
            reading = self.split.reading(index)
            if reading.record is not None:
                check_storable(reading.record)
            return reading
        except RecordError as error:
            return ReadResult(None, (Skipped("missing or broken files", str(error)),))


def _write(
    converter: Converter,
    split: Split,
    folder: Path,
    settings: Mapping[str, Any],
    processes: int | None,
    records_per_shard: int | None,
    bytes_per_shard: int,
) -> ShardSet:
    usual = min(MOST, max(FEWEST, len(split) // SHARDS))
    written = write_parallel(
        _Lenient(split) if settings["broken"] == "skip" else split.reading,
        len(split),
        folder,
        split.manifest,
        processes=processes,
        split=f"{split.manifest.name} {folder.name}",
        records_per_shard=usual if records_per_shard is None else records_per_shard,
        bytes_per_shard=bytes_per_shard,
        settings={"converter": type(converter).__name__, **settings, **converter.settings()},
        reads=_reads(converter, split),
        stamp=split.stamp,
    )
    lines = [f"{folder}: {written.records} images", *written.tally.lines(), *split.notes]
    Console().print("\n  ".join(lines), markup=False, highlight=False, soft_wrap=True)
    return written


def _reads(converter: Converter, split: Split) -> dict[str, str]:
    """Say what a split is made from; of the files of single items see ``Split.stamp``."""
    annotations = {path.name: content_stamp(path) for path in split.annotations}
    return {**converter.places(), **annotations, "items": f"{len(split)} items, sha256 {split.digest()}"}
