"""A set of shards, and the manifest that describes it.

``manifest.json`` holds the fields of ``lasagna.core.record.Manifest`` (the keys of ``labels`` as strings) and also:

- ``format``: version of the layout, 2; in version 1, no region tells its objects apart;
- ``records``: number of records in all shards;
- ``shards``: one object per shard with ``file``, ``records``, ``bytes`` and ``sha256``, in order;
- ``settings``: the writer's settings, which tell whether to write again;
- ``members``: for shards that others have written (``lasagna index``), the fields of ``Members``;
- ``inputs``: checksum over the annotation files, the list of items and names, sizes and times of their files;
- ``tally``: number of items examined, number of annotations of each kind written, and what was left out and why.

The manifest is written last: a folder without one is incomplete. Until then ``unfinished.json`` lists the complete
shards in the same form, and under ``reads`` what they were made from.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.core.json_text import parse_json
from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.datamodules.shards.fields import Fields
from lasagna.datamodules.shards.folder import LocalFolder, Shard, ShardFolder
from lasagna.datamodules.shards.members import Members
from lasagna.datamodules.shards.tally import WriteStats
from lasagna.errors import ShardError

FORMAT = 2
FORMATS = (1, FORMAT)
"""Versions that are read."""

MANIFEST_FILE = "manifest.json"
UNFINISHED_FILE = "unfinished.json"
INDEX_FILE = "index.npz"
"""Counts of the records, made at their first use (``lasagna.datamodules.shards.index``)."""

_SHARDS = "[0-9]" * 6 + ".tar"


@dataclass(frozen=True)
class ShardSet:
    """All shards of a folder.

    Args:
        folder: The folder.
        manifest: Description of the data set.
        shards: The shards in order.
        settings: The writer's settings.
        tally: Counts of what was written and what was left out.
        reads: Inputs of an unfinished write, so that it is not continued from other inputs.
        format: Version of the layout.
        members: Which files of the samples are which part of a record, if others have written the shards.
        inputs: Checksum over the inputs of a finished write, or empty.
    """

    folder: ShardFolder
    manifest: Manifest
    shards: tuple[Shard, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    tally: WriteStats = field(default_factory=WriteStats)
    reads: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    members: Members | None = None
    inputs: str = ""

    @property
    def records(self) -> int:
        """Number of records in all shards."""
        return sum(shard.records for shard in self.shards)

    def errors(self) -> list[str]:
        """Return what is wrong with the files, judged by their sizes only; cheap."""
        if not self.records:
            return [f"{self.folder}: the manifest lists no records; write the shards again"]
        return self.folder.size_errors(self.shards)

    def check(self) -> None:
        """Check that all shards exist with their full size.

        Raises:
            ShardError: If a shard is missing, empty or truncated, or there are no records; names all of them.
        """
        _raise_all(self.errors())

    def verify(self) -> None:
        """Check the sizes and checksums of all shards; reads every byte.

        Raises:
            ShardError: If a shard is missing or differs from what was written; names all of them.
        """
        _raise_all([error for shard in self.shards if (error := self.shard_error(shard))] or self.errors())

    def shard_error(self, shard: Shard) -> str:
        """Return what is wrong with a shard, after reading all of it; empty if nothing is."""
        if size_error := "".join(self.folder.size_errors([shard])):
            return size_error
        try:
            with self.folder.open(shard) as file:
                digest = sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            return self.unreadable(shard, error)
        return self.checksum_error(shard, digest.hexdigest())

    def checksum_error(self, shard: Shard, found: str) -> str:
        """Return what is wrong with the checksum of all of a shard, hexadecimal; empty if nothing is."""
        if found == shard.sha256:
            return ""
        expected = f"expected sha256 {shard.sha256[:12]}..., found {found[:12]}..."
        return f"{self.folder.location(shard.file)}: {expected}; {self.folder.remedy}"

    def unreadable(self, shard: Shard, error: Exception) -> str:
        """Return the message for a shard that cannot be read: which one, why and what to do."""
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return f"{self.folder.location(shard.file)}: the shard cannot be read ({reason}); {self.folder.remedy}"


def shard_file(number: int) -> str:
    """Return the file name of a shard by its number."""
    return f"{number:06d}.tar"


def part_of(path: Path) -> Path:
    """Return the path under which a file is written until it is complete."""
    return path.with_name(f"{path.name}.part")


def written_files(folder: Path) -> set[Path]:
    """Return all files in a folder that a shard writer wrote, including what an interrupted one left behind."""
    names = (_SHARDS, MANIFEST_FILE, UNFINISHED_FILE, INDEX_FILE)
    return {path for name in names for pattern in (name, f"{name}.part") for path in folder.glob(pattern)}


def manifest_errors(manifest: Manifest) -> list[str]:
    """Return the contradictions between the names of a manifest."""
    counts = Counter(map(normalise, manifest.categories))
    errors = []
    if repeated := [name for name, count in counts.items() if count > 1]:
        names = ", ".join(map(repr, repeated))
        errors.append(f"categories name {names} more than once; name each once, whatever its case")
    if unknown := {value: name for value, name in manifest.labels.items() if normalise(name) not in counts}:
        names = ", ".join(f"{name!r} (value {value})" for value, name in sorted(unknown.items()))
        errors.append(f"labels name {names}, not among the categories; add them there, or list the values as void")
    return errors


def read_manifest(folder: Path, file: str = MANIFEST_FILE) -> ShardSet:
    """Read the manifest of a folder of shards on disk.

    Args:
        folder: The folder.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If the manifest is missing, is not one of this package's, or contradicts itself.
    """
    return read_shard_set(LocalFolder(folder), file)


def read_shard_set(folder: ShardFolder, file: str = MANIFEST_FILE) -> ShardSet:
    """Read the manifest of a folder of shards, on disk or remote.

    Args:
        folder: The folder.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If the manifest is missing, is not one of this package's, or contradicts itself.
    """
    content, location = folder.manifest(file), folder.location(file)
    try:
        shard_set = _from_json(parse_json(content.decode("utf-8")), folder)
    except ValueError as error:
        raise ShardError(f"{location}: not a manifest of this version ({error}); write the shards again") from error
    _raise_all([f"{location}: {error}" for error in manifest_errors(shard_set.manifest)])
    return shard_set


def write_manifest(shard_set: ShardSet, folder: Path, file: str = MANIFEST_FILE) -> None:
    """Write the manifest of shards on disk, atomically.

    Args:
        shard_set: The shards and the description of their records.
        folder: Their folder.
        file: Name of the manifest within the folder.

    Raises:
        ShardError: If it cannot be written, e.g. because the disk is full.
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
            f"{path}: the manifest could not be written ({error}); make room and run the same command again"
        ) from error


def _to_json(shard_set: ShardSet) -> dict[str, Any]:
    manifest = shard_set.manifest
    return {
        "format": shard_set.format,
        **asdict(replace(manifest, labels=dict(manifest.labels), aliases=dict(manifest.aliases))),
        "records": shard_set.records,
        "settings": dict(shard_set.settings),
        "tally": asdict(shard_set.tally),
        **({"members": asdict(shard_set.members)} if shard_set.members else {}),
        **({"reads": dict(shard_set.reads)} if shard_set.reads else {}),
        **({"inputs": shard_set.inputs} if shard_set.inputs else {}),
        "shards": [asdict(shard) for shard in shard_set.shards],
    }


def _from_json(content: Any, folder: ShardFolder) -> ShardSet:  # noqa: ANN401
    data = Fields(content)
    version = data.choice("format", FORMATS)
    tally = WriteStats.from_json(data.inner("tally")) if "tally" in data else WriteStats()
    members = Members.from_json(data.inner("members")) if "members" in data else None
    settings, reads = data.get("settings", dict, {}), data.get("reads", dict, {})
    inputs = data.get("inputs", str, "")
    return ShardSet(folder, _manifest(data), _shards(data), settings, tally, reads, version, members, inputs)


def _manifest(data: Fields) -> Manifest:
    labels = data.inner("labels").text_of()
    if odd := [value for value in labels if not value.isdecimal()]:
        raise ValueError(f"labels: expected values of at least 0, got {odd[0]!r}")
    return Manifest(
        name=data.get("name", str),
        categories=data.texts("categories"),
        labels={int(value): name for value, name in labels.items()},
        void=data.wholes("void"),
        unannotated=data.choice("unannotated", ("absent", "unknown")),
        origin=data.get("origin", str),
        licence=data.get("licence", str),
        background=data.wholes("background", required=False),
        aliases=data.inner("aliases", required=False).texts_of(),
    )


def _shards(data: Fields) -> tuple[Shard, ...]:
    shards = tuple(
        Shard(part.get("file", str), part.whole("records", 1), part.whole("bytes", 1), part.checksum("sha256"))
        for part in data.objects("shards")
    )
    if not shards:
        raise ValueError("shards: there are none")
    names = Counter(shard.file for shard in shards)
    if outside := [name for name in names if Path(name).name != name]:
        raise ValueError(f"shards outside of the folder: {outside}")
    if twice := [name for name, count in names.items() if count > 1]:
        raise ValueError(f"shards: {twice[0]!r} is listed twice")
    if "records" in data and data.whole("records", 0) != (total := sum(shard.records for shard in shards)):
        raise ValueError(f"records: it says {data.whole('records', 0)}, and the shards hold {total}")
    return shards


def _raise_all(errors: list[str]) -> None:
    if errors:
        raise ShardError("\n".join(errors))
