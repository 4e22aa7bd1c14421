"""``lasagna verify``: compare shards with the checksums in their manifests."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import track

from lasagna.datamodules.shards.folder import LocalFolder, ShardFolder
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, UNFINISHED_FILE, ShardSet, read_shard_set
from lasagna.datamodules.shards.remote import is_remote, open_folder
from lasagna.errors import ShardError


def verify(shards: str) -> None:
    """Read all shards of a folder, compare them with what was written and report those that differ.

    Args:
        shards: A folder of shards, a folder that holds several of them (train, val, ...), or the address of a remote
            folder of shards, as in a config.

    Raises:
        ShardError: If a manifest is missing, or a shard is missing or differs from what was written; names all of them.
    """
    if errors := [error for folder in shard_folders(shards) for error in _errors(read_shard_set(folder))]:
        raise ShardError("\n".join(errors))


def shard_folders(shards: str) -> list[ShardFolder]:
    """Return a folder of shards, or those that it holds, including incomplete ones.

    Args:
        shards: A folder of shards, a folder that holds several of them (train, val, ...), or the address of a remote
            folder of shards.

    Raises:
        ConfigError: If the address has an unknown scheme.
    """
    if is_remote(shards):
        return [open_folder(shards)]
    root = Path(shards).expanduser()
    inner = {path.parent for name in (MANIFEST_FILE, UNFINISHED_FILE) for path in root.glob(f"*/{name}")}
    return list(map(LocalFolder, [root] if (root / MANIFEST_FILE).is_file() or not inner else sorted(inner)))


def _errors(shard_set: ShardSet) -> list[str]:
    console = Console()
    shards = track(shard_set.shards, f"reading {shard_set.folder}", console=console, transient=True)
    errors = [error for shard in shards if (error := shard_set.shard_error(shard))] or shard_set.errors()
    if not errors:
        text = (
            f"{shard_set.folder}: {shard_set.records} records in {len(shard_set.shards)} shards, as they were written"
        )
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    return errors
