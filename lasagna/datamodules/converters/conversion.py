"""From a data set as it was released to shards on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from lasagna.datamodules.converters.archives import check_unpacked, packed
from lasagna.datamodules.converters.base import Converter, Split
from lasagna.datamodules.converters.files import LayoutError, missing_files, shorten
from lasagna.datamodules.converters.inner_names import is_plain
from lasagna.datamodules.reading import LeftOut, Reading
from lasagna.datamodules.record_codec import check_storable
from lasagna.datamodules.shard_set import MANIFEST_FILE, ShardSet, read_manifest, written_files
from lasagna.datamodules.shards import BYTES_PER_SHARD, write_parallel
from lasagna.datamodules.stamps import content_stamp
from lasagna.errors import ConfigError, RecordError, ShardError

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

    Returns:
        What was written, by split.

    Raises:
        LayoutError: If the source is not laid out as expected, or files that belong together do not pair up.
        RecordError: If a file cannot be used.
        ShardError: If ``target`` holds anything else than shards of the same splits of the same data set, be they whole
            or left unfinished, or was left unfinished by a conversion of another source, or of this one before it
            changed.
        ConfigError: If a split is unknown or a limit of the shards is not positive.
    """
    check_unpacked(converter)
    try:
        wanted = splits.split(",") if isinstance(splits, str) else splits
        chosen = _chosen(converter, target, [name for name in wanted if name])
        if broken == "stop":
            _check_files(chosen)
    except LayoutError as fault:
        raise LayoutError(f"{fault}{packed(converter)}") from fault
    return {
        name: _write(converter, name, part, target / name, broken, processes, records_per_shard, bytes_per_shard)
        for name, part in chosen.items()
    }


def _chosen(converter: Converter, target: Path, splits: Sequence[str]) -> dict[str, Split]:
    parts = converter.splits()
    if strange := [name for name in parts if not is_plain(name)]:
        raise LayoutError(f"source: the split {strange[0]!r} cannot be the name of a folder; call it otherwise")
    _check_target(target, parts)
    if unknown := sorted(set(splits) - set(parts)):
        raise ConfigError(f"splits: {shorten(unknown)} are not there; there are {', '.join(parts)}")
    try:
        chosen = {name: parts[name] for name in parts if not splits or name in splits}
    except LayoutError as fault:
        hint = "" if splits or len(parts) < 2 else f"\nOr take a part of the splits ({', '.join(parts)}) by `--splits`"
        raise LayoutError(f"{fault}{hint}") from fault
    for name, split in chosen.items():
        _check_same(target / name, split.manifest.name)
        _check_keys(name, split)
    return chosen


@dataclass(frozen=True)
class _Lenient:
    """Reads items of a split; those with broken files, or which cannot be stored, are left out."""

    split: Split

    def __call__(self, index: int) -> Reading:
        try:
            reading = self.split.reading(index)
            if reading.record is not None:
                check_storable(reading.record)
            return reading
        except RecordError as fault:
            return Reading(None, (LeftOut("missing or broken files", str(fault)),))


def _write(
    converter: Converter,
    name: str,
    split: Split,
    folder: Path,
    broken: str,
    processes: int | None,
    records_per_shard: int | None,
    bytes_per_shard: int,
) -> ShardSet:
    usual = min(MOST, max(FEWEST, len(split) // SHARDS))
    settings = {"converter": type(converter).__name__, "split": name, "broken": broken, **converter.settings()}
    written = write_parallel(
        _Lenient(split) if broken == "skip" else split.reading,
        len(split),
        folder,
        split.manifest,
        processes=processes,
        split=f"{split.manifest.name} {name}",
        records_per_shard=usual if records_per_shard is None else records_per_shard,
        bytes_per_shard=bytes_per_shard,
        settings=settings,
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


def _check_files(splits: Mapping[str, Split]) -> None:
    for name, split in splits.items():
        if missing := missing_files(split.files):
            raise LayoutError(
                f"source: {len(missing)} of the {len(split.files)} files that the split {name!r} needs are not there "
                f"({shorten(list(map(str, missing)))}); unpack all of them, or go on without them by `--broken skip`"
            )


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


def _check_keys(name: str, split: Split) -> None:
    counts = Counter(item.key for item in split.items if hasattr(item, "key"))
    if doubled := [str(key) for key, count in counts.items() if count > 1]:
        raise LayoutError(
            f"source: in the split {name!r} {len(doubled)} images are listed several times ({shorten(doubled)}); keep "
            "one entry of each"
        )


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
