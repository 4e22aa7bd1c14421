"""Comparing shards with the checksums that their manifests hold."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import track

from lasagna.datamodules.shards.folder import LocalFolder, ShardFolder
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, UNFINISHED_FILE, ShardSet, read_shard_set
from lasagna.datamodules.shards.remote import is_remote, open_folder
from lasagna.errors import ShardError


def verify(shards: str) -> None:
    """Read all shards of a folder and compare them with what was written; says which are not the same.

    Args:
        shards: A folder of shards, or one whose folders are (train, val, ...); or the address of a folder of shards
            that is elsewhere, as a source of a config has it.

    Raises:
        ShardError: If there is no manifest, or a shard is missing or not what was written; names all of them.
    """
    faults = [fault for shard_set in map(read_shard_set, shard_folders(shards)) for fault in _faults(shard_set)]
    if faults:
        raise ShardError("\n".join(faults))


def shard_folders(shards: str) -> list[ShardFolder]:
    """Return the folders of shards that a folder is or holds, also those that were not written to the end.

    Args:
        shards: A folder of shards, or one whose folders are (train, val, ...); or the address of a folder of shards.

    Raises:
        ConfigError: If nothing is known about such addresses.
    """
    if is_remote(shards):
        return [open_folder(shards)]
    root = Path(shards).expanduser()
    inner = {path.parent for name in (MANIFEST_FILE, UNFINISHED_FILE) for path in root.glob(f"*/{name}")}
    return list(map(LocalFolder, [root] if (root / MANIFEST_FILE).is_file() or not inner else sorted(inner)))


def _faults(shard_set: ShardSet) -> list[str]:
    console = Console()
    shards = track(shard_set.shards, f"reading {shard_set.folder}", console=console, transient=True)
    faults = [fault for shard in shards if (fault := shard_set.fault(shard))] or shard_set.faults()
    if not faults:
        text = (
            f"{shard_set.folder}: {shard_set.records} records in {len(shard_set.shards)} shards, as they were written"
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return faults
