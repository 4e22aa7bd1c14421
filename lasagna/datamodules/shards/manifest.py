"""Shards and the manifest beside them.

``manifest.json`` holds the fields of ``lasagna.core.record.Manifest`` (the keys of ``labels`` as strings), and besides:

- ``format``: version of the layout, 1;
- ``records``: number of records in all shards;
- ``shards``: one object a shard with ``file``, ``records``, ``bytes`` and ``sha256``, in order;
- ``settings``: what the writer was asked for, so that it knows whether to write again;
- ``tally``: how many items were looked at, how many annotations of each kind were written, and what was left out why.

It is written last: a folder without it was not written to the end. Until then ``unfinished.json`` lists, in the same
form, the shards that are whole already, and in ``reads`` what they were made from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.datamodules.shards.folder import LocalFolder, Shard, ShardFolder
from lasagna.datamodules.shards.tally import WriteStats
from lasagna.errors import ShardError

FORMAT = 1
MANIFEST_FILE = "manifest.json"
UNFINISHED_FILE = "unfinished.json"
_SHARDS = "[0-9]" * 6 + ".tar"


@dataclass(frozen=True)
class ShardSet:
    """All shards of a folder.

    Args:
        folder: Where they are.
        manifest: What holds for all records.
        shards: The shards in order.
        settings: What the writer was asked for.
        tally: What was written and what was left out.
        reads: What an unfinished write reads, so that it does not go on with something else.
    """

    folder: ShardFolder
    manifest: Manifest
    shards: tuple[Shard, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    tally: WriteStats = field(default_factory=WriteStats)
    reads: Mapping[str, str] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """Number of records in all shards."""
        return sum(shard.records for shard in self.shards)

    def faults(self) -> list[str]:
        """Say what is wrong with the files as far as their sizes tell; cheap."""
        if not self.records:
            return [f"{self.folder}: the manifest lists no records; write the shards again"]
        return self.folder.size_faults(self.shards)

    def check(self) -> None:
        """Check that all shards are there in their full size.

        Raises:
            ShardError: If a shard is missing, empty or truncated, or there are no records; names all of them.
        """
        _raise_together(self.faults())

    def verify(self) -> None:
        """Check the sizes and the checksums of all shards; reads everything.

        Raises:
            ShardError: If a shard is missing or not what was written; names all of them.
        """
        _raise_together([fault for shard in self.shards if (fault := self.fault(shard))] or self.faults())

    def fault(self, shard: Shard) -> str:
        """Say what is wrong with a shard, reading all of it; empty if nothing is."""
        return "".join(self.folder.size_faults([shard])) or self._checksum_fault(shard)

    def unreadable(self, shard: Shard, error: Exception) -> str:
        """Say that a shard cannot be read, why and what to do."""
        return f"{self.folder.place(shard.file)}: the shard cannot be read ({_reason(error)}); {self.folder.way_out}"

    def _checksum_fault(self, shard: Shard) -> str:
        try:
            with self.folder.open(shard) as file:
                found = _sha256(file)
        except OSError as error:
            return self.unreadable(shard, error)
        expected = f"expected sha256 {shard.sha256[:12]}..., found {found[:12]}..."
        place = self.folder.place(shard.file)
        return "" if found == shard.sha256 else f"{place}: {expected}; {self.folder.way_out}"


def shard_file(number: int) -> str:
    """Return the name of a shard by its place."""
    return f"{number:06d}.tar"


def part_of(path: Path) -> Path:
    """Return where a file is written before it is whole."""
    return path.with_name(f"{path.name}.part")


def written_files(folder: Path) -> set[Path]:
    """Return all files in a folder that are a writer's of shards, also what one leaves that was stopped."""
    names = (_SHARDS, MANIFEST_FILE, UNFINISHED_FILE)
    return {path for name in names for pattern in (name, f"{name}.part") for path in folder.glob(pattern)}


def manifest_faults(manifest: Manifest) -> list[str]:
    """Say which names of a manifest do not fit together."""
    known = Counter(map(normalise, manifest.categories))
    doubled = [name for name, count in known.items() if count > 1]
    strange = {value: name for value, name in manifest.labels.items() if normalise(name) not in known}
    listed = ", ".join(f"{name!r} (value {value})" for value, name in sorted(strange.items()))
    twice = f"categories name {', '.join(map(repr, doubled))} more than once; name each once, whatever its case"
    lost = f"labels name {listed}, not among the categories; add them there, or list the values as void instead"
    return [twice] * bool(doubled) + [lost] * bool(strange)


def read_manifest(folder: Path, file: str = MANIFEST_FILE) -> ShardSet:
    """Read the manifest of a folder of shards on disk.

    Args:
        folder: Where the shards are.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If there is no manifest, it is not one of this package's, or its names do not fit together.
    """
    return read_shard_set(LocalFolder(folder), file)


def read_shard_set(folder: ShardFolder, file: str = MANIFEST_FILE) -> ShardSet:
    """Read the manifest of a folder of shards, wherever it is.

    Args:
        folder: The folder.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If there is no manifest, it is not one of this package's, or its names do not fit together.
    """
    content, place = folder.manifest(file), folder.place(file)
    try:
        shard_set = _from_json(json.loads(content.decode("utf-8")), folder)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ShardError(f"{place}: not a manifest of this version ({error!r}); write the shards again") from error
    _raise_together([f"{place}: {fault}" for fault in manifest_faults(shard_set.manifest)])
    return shard_set


def write_manifest(shard_set: ShardSet, folder: Path, file: str = MANIFEST_FILE) -> None:
    """Write the manifest of shards on disk, whole or not at all.

    Args:
        shard_set: The shards and what holds for their records.
        folder: Their folder.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If it cannot be written, e.g. since the disk is full.
    """
    path = folder / file
    part = part_of(path)
    text = json.dumps(_to_json(shard_set), indent=1, ensure_ascii=False) + "\n"
    try:
        part.write_text(text, "utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ShardError(
            f"{path}: the manifest could not be written ({error}); make room and run the same again"
        ) from error


def _to_json(shard_set: ShardSet) -> dict[str, Any]:
    manifest = shard_set.manifest
    return {
        "format": FORMAT,
        **asdict(replace(manifest, labels=dict(manifest.labels), aliases=dict(manifest.aliases))),
        "records": shard_set.records,
        "settings": dict(shard_set.settings),
        "tally": asdict(shard_set.tally),
        **({"reads": dict(shard_set.reads)} if shard_set.reads else {}),
        "shards": [asdict(shard) for shard in shard_set.shards],
    }


def _from_json(data: dict[str, Any], folder: ShardFolder) -> ShardSet:
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']!r}, expected {FORMAT}")
    manifest = Manifest(
        name=str(data["name"]),
        categories=tuple(map(str, data["categories"])),
        labels={int(value): str(name) for value, name in data["labels"].items()},
        void=tuple(map(int, data["void"])),
        unannotated=_choice(data["unannotated"]),
        origin=str(data["origin"]),
        licence=str(data["licence"]),
        background=tuple(map(int, data.get("background", ()))),
        aliases={str(name): tuple(map(str, others)) for name, others in data.get("aliases", {}).items()},
    )
    shards = tuple(Shard(**shard) for shard in data["shards"])
    outside = [shard.file for shard in shards if Path(shard.file).name != shard.file]
    if outside:
        raise ValueError(f"shards outside of the folder: {outside}")
    tally = WriteStats.from_json(data["tally"]) if "tally" in data else WriteStats()
    return ShardSet(folder, manifest, shards, data.get("settings", {}), tally, data.get("reads", {}))


def _choice(value: str) -> Any:  # noqa: ANN401
    if value not in ("absent", "unknown"):
        raise ValueError(f"unannotated: expected 'absent' or 'unknown', got {value!r}")
    return value


def _sha256(file: Any) -> str:  # noqa: ANN401
    digest = sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    # webdataset adds streams to what a fault says
    said = getattr(error, "strerror", None) or (error.args[0] if error.args else "")
    return str(said).partition(" @ <")[0] or type(error).__name__


def _raise_together(faults: list[str]) -> None:
    if faults:
        raise ShardError("\n".join(faults))
