"""Shards on disk and the manifest beside them.

``manifest.json`` holds the fields of ``lasagna.record.Manifest`` (the keys of ``labels`` as strings), and besides:

- ``format``: version of the layout, 1;
- ``records``: number of records in all shards;
- ``shards``: one object a shard with ``file``, ``records``, ``bytes`` and ``sha256``, in order;
- ``settings``: what the writer was asked for, so that it knows whether to write again;
- ``tally``: how many items were looked at, how many annotations of each kind were written, and what was left out why.

It is written last: a folder without it was not written to the end. Until then ``unfinished.json`` lists, in the same
form, the shards that are whole already.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.datamodules.reading import Tally
from lasagna.errors import ShardError
from lasagna.prompt_format import normalise
from lasagna.record import Manifest

FORMAT = 1
MANIFEST_FILE = "manifest.json"
UNFINISHED_FILE = "unfinished.json"
_SHARDS = "[0-9]" * 6 + ".tar"


@dataclass(frozen=True)
class Shard:
    """One tar file of records.

    Args:
        file: Its name within the folder.
        records: How many records it holds.
        bytes: Its size.
        sha256: Its checksum, hexadecimal.
    """

    file: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardSet:
    """All shards of a folder.

    Args:
        folder: Where they are.
        manifest: What holds for all records.
        shards: The shards in order.
        settings: What the writer was asked for.
        tally: What was written and what was left out.
    """

    folder: Path
    manifest: Manifest
    shards: tuple[Shard, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    @property
    def records(self) -> int:
        """Number of records in all shards."""
        return sum(shard.records for shard in self.shards)

    def path(self, shard: Shard) -> Path:
        """Return where a shard is."""
        return self.folder / shard.file

    def faults(self) -> list[str]:
        """Say what is wrong with the files as far as their sizes tell; cheap."""
        if not self.records:
            return [f"{self.folder}: the manifest lists no records; write the shards again"]
        return [fault for shard in self.shards if (fault := self._size_fault(shard))]

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
        return self._size_fault(shard) or self._checksum_fault(shard)

    def _size_fault(self, shard: Shard) -> str:
        path = self.path(shard)
        if not path.is_file():
            return f"{path}: the shard is missing; copy or write the data again"
        size = path.stat().st_size
        if size != shard.bytes:
            state = "empty" if size == 0 else "truncated" if size < shard.bytes else "not what was written"
            return f"{path}: the shard is {state} ({size} of {shard.bytes} bytes); copy or write the data again"
        return ""

    def _checksum_fault(self, shard: Shard) -> str:
        with self.path(shard).open("rb") as file:
            found = _sha256(file)
        expected = f"expected sha256 {shard.sha256[:12]}..., found {found[:12]}..."
        return "" if found == shard.sha256 else f"{self.path(shard)}: {expected}; copy or write the data again"


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
    """Read the manifest of a folder of shards.

    Args:
        folder: Where the shards are.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If there is no manifest, it is not one of this package's, or its names do not fit together.
    """
    path = folder / file
    if not path.is_file():
        state = "has no" if folder.is_dir() else "does not exist, so there is no"
        raise ShardError(
            f"{folder}: the folder {state} {file}; shards without it were not written to the end. Write them "
            f"again (`python train.py` writes the scenes, `lasagna convert` a data set), or correct the path"
        )
    try:
        shard_set = _from_json(json.loads(path.read_text("utf-8")), folder)
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise ShardError(f"{path}: not a manifest of this version ({fault!r}); write the shards again") from fault
    _raise_together([f"{path}: {fault}" for fault in manifest_faults(shard_set.manifest)])
    return shard_set


def write_manifest(shard_set: ShardSet, file: str = MANIFEST_FILE) -> None:
    """Write the manifest of a folder of shards, whole or not at all.

    Args:
        shard_set: The shards and what holds for their records.
        file: Name of the manifest within the folder.
    """
    path = shard_set.folder / file
    part = part_of(path)
    part.write_text(json.dumps(_to_json(shard_set), indent=1, ensure_ascii=False) + "\n", "utf-8")
    part.replace(path)


def _to_json(shard_set: ShardSet) -> dict[str, Any]:
    manifest = shard_set.manifest
    return {
        "format": FORMAT,
        **asdict(replace(manifest, labels=dict(manifest.labels), aliases=dict(manifest.aliases))),
        "records": shard_set.records,
        "settings": dict(shard_set.settings),
        "tally": asdict(shard_set.tally),
        "shards": [asdict(shard) for shard in shard_set.shards],
    }


def _from_json(data: dict[str, Any], folder: Path) -> ShardSet:
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
    tally = Tally.from_json(data["tally"]) if "tally" in data else Tally()
    return ShardSet(folder, manifest, shards, data.get("settings", {}), tally)


def _choice(value: str) -> Any:  # noqa: ANN401
    if value not in ("absent", "unknown"):
        raise ValueError(f"unannotated: expected 'absent' or 'unknown', got {value!r}")
    return value


def _sha256(file: Any) -> str:  # noqa: ANN401
    digest = sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _raise_together(faults: list[str]) -> None:
    if faults:
        raise ShardError("\n".join(faults))
