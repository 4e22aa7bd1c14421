"""From a data set as it was released to shards on disk."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from lasagna.datamodules.converters.camvid import CamVid
from lasagna.datamodules.converters.files import shorten
from lasagna.datamodules.shard_set import MANIFEST_FILE, ShardSet, written_files
from lasagna.datamodules.shards import write_shards
from lasagna.errors import ShardError


def convert(
    name: Literal["camvid"],
    source: Path,
    target: Path,
    held_out_drive: str | None = None,
    records_per_shard: int = 50,
) -> dict[str, ShardSet]:
    """Write a data set, as it was released, as shards of records, one folder a split.

    Args:
        name: Which data set it is.
        source: Its folder.
        target: Where the folders of the splits go.
        held_out_drive: A drive whose frames become the split "held_out" (CamVid: 0001TP, 0006R0, 0016E5 or Seq05VD).
        records_per_shard: Records in each shard but the last; there should be at least as many shards as workers.

    Returns:
        What was written, by split.

    Raises:
        LayoutError: If ``source`` is not laid out as expected, or its images and labels do not pair up.
        RecordError: If an image or label file cannot be used.
        ShardError: If ``target`` holds anything else than shards of the same splits, be they whole or left unfinished.
        ConfigError: If ``records_per_shard`` is not positive.
    """
    splits = {"camvid": CamVid}[name](source, held_out_drive).splits()
    _check_target(target, splits)
    return {
        split: write_shards(
            part.records(),
            target / split,
            part.manifest,
            total=len(part),
            split=f"{name} {split}",
            records_per_shard=records_per_shard,
            settings={"converter": name, "split": split, "held_out_drive": held_out_drive},
        )
        for split, part in splits.items()
    }


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
