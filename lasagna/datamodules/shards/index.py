"""An index of shards: the categories of each record and where it is, read once and kept beside the shards."""

from __future__ import annotations

import json
import sys
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.image_files import BROKEN_IMAGE
from lasagna.core.locks import locked_folder
from lasagna.core.masks import LabelMap
from lasagna.core.record import Manifest
from lasagna.datamodules.shards.codec import IMAGE_EXTENSIONS, own_sample
from lasagna.datamodules.shards.folder import Shard
from lasagna.datamodules.shards.manifest import INDEX_FILE, ShardSet
from lasagna.datamodules.shards.reader import META, NAME, RawSample, read_samples
from lasagna.errors import ConfigError, RecordError, ShardError

NOTED = 2000
"""Number of records from which on a user is told that they are counted."""

PATIENCE = 24 * 3600.0
"""Seconds to wait for another process that counts the same records."""


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """What the records of shards hold, without their images and masks.

    Args:
        keys: Key of each record as it stands in the names of its files, in the order of the shards.
        names: The categories, those of the manifest first.
        places: Number of the shard and first byte within it of each record, int64 ``[records, 2]``; the byte is -1 in a
            compressed shard.
        entries: One row for each category of a record: number of the record, number of the category, and number of its
            objects, 0 if they are not told apart; int32 ``[n, 3]``, in the order of the records.
    """

    keys: tuple[str, ...]
    names: tuple[str, ...]
    places: NDArray[np.int64]
    entries: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.keys)

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """Number of records that show each category, int64 ``[names]``."""
        return np.bincount(self.entries[:, 1], minlength=len(self.names)).astype(np.int64)

    @cached_property
    def together(self) -> NDArray[np.int64]:
        """Number of records that show two categories, int64 ``[names, names]``, with ``images`` on the diagonal."""
        from scipy.sparse import csr_array  # here, since most readers of an index do not count pairs

        rows, columns, _ = self.entries.T
        shows = csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), (len(self), len(self.names)))
        return np.asarray((shows.T @ shows).toarray())

    def renamed(self, said: Callable[[str], str]) -> ShardIndex:
        """Return the index in which categories have other names, of which several may be the same.

        Args:
            said: Gives the new name of a category.
        """
        names = tuple(dict.fromkeys(map(said, self.names)))
        if names == self.names:
            return self
        ranks = {name: rank for rank, name in enumerate(names)}
        new = np.array([ranks[said(name)] for name in self.names], dtype=np.int64)
        rows, columns, counts = self.entries.T
        pairs, places = np.unique(np.column_stack([rows, new[columns]]), axis=0, return_inverse=True)
        sums = np.bincount(places.ravel(), counts, len(pairs))
        return replace(self, names=names, entries=np.column_stack([pairs, sums]).astype(np.int32))


def read_index(shard_set: ShardSet) -> ShardIndex:
    """Return the index of shards; it is made at its first use, and kept beside them.

    Args:
        shard_set: The shards, on disk or with a cache.

    Raises:
        ConfigError: If the shards are remote and have no cache.
        ShardError: If a shard is missing or broken.
    """
    place = shard_set.folder.place
    if place is None:
        raise ConfigError(
            f"{shard_set.folder}: to count its records, all shards are read once; set `remote.cache`, or copy them to "
            "a folder on disk"
        )
    digest = _digest(shard_set)
    if (index := _known.get(digest)) is not None:
        return index
    file = place / (INDEX_FILE if place == getattr(shard_set.folder, "path", None) else f"{digest}.npz")
    if (index := _load(file, digest)) is None:
        place.mkdir(parents=True, exist_ok=True)
        with locked_folder(place, f"another process counts the records of {shard_set.folder}", PATIENCE):
            # another process may have made it meanwhile
            if (index := _load(file, digest)) is None:
                index = make_index(shard_set)
                _save(index, file, digest)
    _known[digest] = index
    return index


_known: WeakValueDictionary[str, ShardIndex] = WeakValueDictionary()
"""The indexes in use, which sources of the same shards share."""


def _digest(shard_set: ShardSet) -> str:
    """Return what tells shards with the names of their categories from others."""
    manifest = shard_set.manifest
    members = None if shard_set.members is None else asdict(shard_set.members)
    described = [
        [shard.sha256 for shard in shard_set.shards], manifest.categories, sorted(manifest.labels.items()), members
    ]  # fmt: skip
    return sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def make_index(shard_set: ShardSet) -> ShardIndex:
    """Read all annotations of shards, and return their index.

    A record whose annotations cannot be read counts as one without categories.

    Args:
        shard_set: The shards.

    Raises:
        ShardError: If a shard is missing or broken.
    """
    if shard_set.records >= NOTED:
        print(f"counting the categories of {shard_set.records} records of {shard_set.folder}, once", file=sys.stderr)
    ranks = dict(shard_set.manifest.ranks)
    keys, places, entries = list[str](), list[tuple[int, int]](), list[tuple[int, int, int]]()
    for number, shard in enumerate(shard_set.shards):
        for offset, sample in _samples(shard_set, shard):
            for name, objects in contents(sample, shard_set.manifest).items():
                entries.append((len(keys), ranks.setdefault(name, len(ranks)), objects))
            keys.append(str(sample["__key__"]))
            places.append((number, offset))
    return ShardIndex(
        tuple(keys),
        tuple(ranks),
        np.array(places, dtype=np.int64).reshape(-1, 2),
        np.array(entries, dtype=np.int32).reshape(-1, 3),
    )


def contents(sample: Mapping[str, Any], manifest: Manifest) -> dict[str, int]:
    """Return the categories of a sample with the numbers of their objects; nothing if they cannot be read.

    Args:
        sample: Files of the record by extension; its images are not needed, unless others have written the shards.
        manifest: Description of the data set.
    """
    found = Counter[str]()
    try:
        own = own_sample(sample)
        for region in json.loads(own["json"]).get("regions", ()):
            found[str(region["name"])] += len(region.get("masks", ()))
        if "labels.png" in own:
            with Image.open(BytesIO(own["labels.png"])) as image:
                values = LabelMap(np.asarray(image)).values
            found.update({manifest.labels[value]: 0 for value in values if value in manifest.labels})
    except (RecordError, ValueError, KeyError, TypeError, AttributeError, *BROKEN_IMAGE):
        return {}
    return dict(found)


def sample_at(shard_set: ShardSet, index: ShardIndex, record: int) -> RawSample:
    """Read one record of shards on disk, without those before it.

    Args:
        shard_set: The shards.
        index: Their index.
        record: Number of the record in the index.

    Raises:
        ShardError: If the shard cannot be read, or is compressed.
    """
    number, offset = index.places[record].tolist()
    shard = shard_set.shards[number]
    if offset < 0:
        raise ShardError(f"{shard_set.folder.location(shard.file)}: the shard is compressed; write plain tar files")
    try:
        with shard_set.folder.open(shard) as stream:
            stream.seek(offset)
            sample = next(read_samples(stream, shard_set.folder.location(shard.file)))
    except (OSError, tarfile.TarError, EOFError, ValueError, StopIteration) as error:
        raise ShardError(shard_set.unreadable(shard, error)) from error
    return sample if shard_set.members is None else shard_set.members.marked(sample)


def _samples(shard_set: ShardSet, shard: Shard) -> Iterator[tuple[int, RawSample]]:
    """Yield the first byte and the files of each sample, without its images where they are not needed."""
    try:
        with shard_set.folder.open(shard) as stream:
            is_plain = _is_plain(stream)
            for offset, sample in _grouped(stream, shard_set.folder.location(shard.file), shard_set.members is None):
                sample = sample if shard_set.members is None else shard_set.members.marked(sample)
                yield offset if is_plain else -1, sample
    except (OSError, tarfile.TarError, EOFError, ValueError) as error:
        raise ShardError(shard_set.unreadable(shard, error)) from error


def _is_plain(stream: BinaryIO) -> bool:
    head = stream.read(tarfile.BLOCKSIZE)
    stream.seek(0)
    return head[257:262] == b"ustar"


def _grouped(stream: BinaryIO, location: str, without_images: bool) -> Iterator[tuple[int, RawSample]]:
    start, sample = 0, RawSample()
    with tarfile.open(fileobj=stream, mode="r:*") as tar:
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # drops the headers read so far, which would accumulate
            name = NAME.fullmatch(member.name)
            if name is None or not member.isreg() or META.match(member.name):
                continue
            key, extension = name[1], name[2].lower()
            if sample.get("__key__") != key:
                if sample:
                    yield start, sample
                start, sample = member.offset, {"__key__": key, "__url__": location}
            if not (without_images and extension.rpartition(".")[2] in IMAGE_EXTENSIONS and extension != "labels.png"):
                content = tar.extractfile(member)
                assert content is not None, "regular files have content"
                sample[extension] = content.read()
    if sample:
        yield start, sample


def _load(file: Path, digest: str) -> ShardIndex | None:
    """Return the index in a file, or None if there is none of these shards."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["digest"]) != digest:
                return None
            keys, names = (bytes(stored[part]).decode("utf-8") for part in ("keys", "names"))
            return ShardIndex(
                tuple(keys.split("\n")) if keys else (), tuple(json.loads(names)), stored["places"], stored["entries"]
            )
    except (OSError, ValueError, KeyError, EOFError):
        return None


def _save(index: ShardIndex, file: Path, digest: str) -> None:
    part = file.with_name(f"{file.name}.part")
    arrays: dict[str, Any] = {
        "digest": np.array(digest),
        # percent-encoded, so that no key has a line break
        "keys": np.frombuffer("\n".join(index.keys).encode("utf-8"), dtype=np.uint8),
        "names": np.frombuffer(json.dumps(index.names).encode("utf-8"), dtype=np.uint8),
        "places": index.places,
        "entries": index.entries,
    }
    try:
        with part.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        part.replace(file)
    except OSError as error:
        warnings.warn(
            f"{file}: the counted categories could not be kept ({error}), so that each run counts them again",
            stacklevel=2,
        )
