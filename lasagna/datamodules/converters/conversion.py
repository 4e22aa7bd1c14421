"""From a data set as it was released to shards on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from lasagna.datamodules.converters.archives import check_unpacked, packed
from lasagna.datamodules.converters.base import Converter, Split
from lasagna.datamodules.converters.files import LayoutError
from lasagna.datamodules.converters.other_shards import other_shards
from lasagna.datamodules.converters.split_choice import check_files, choose_splits
from lasagna.datamodules.reading import LeftOut, Reading
from lasagna.datamodules.record_codec import check_storable
from lasagna.datamodules.shard_set import ShardSet
from lasagna.datamodules.shards import BYTES_PER_SHARD, write_parallel
from lasagna.datamodules.stamps import content_stamp
from lasagna.errors import NoRecordsError, RecordError

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
    except LayoutError as fault:
        raise LayoutError(f"{fault}{packed(converter)}") from fault
    written = {}
    for name, part in chosen.items():
        try:
            settings = {"split": name, "broken": broken, **others.settings()}
            split, folder = others.taken_from(part), target / name
            written[name] = _write(converter, split, folder, settings, processes, records_per_shard, bytes_per_shard)
        except NoRecordsError as fault:
            faults[name] = fault
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
