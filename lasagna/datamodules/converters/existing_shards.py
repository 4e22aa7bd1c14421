"""``lasagna index``: a manifest over WebDataset shards that are there already; their bytes stay as they are."""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import track

from lasagna.core.record import Manifest
from lasagna.core.storage import check_output
from lasagna.datamodules.converters.common.files import LayoutError, shorten
from lasagna.datamodules.converters.common.label_scheme import label_scheme
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels
from lasagna.datamodules.converters.common.preflight import check_names
from lasagna.datamodules.converters.label_classes import read_classes
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.folder import LocalFolder, Shard
from lasagna.datamodules.shards.key_index import KeyIndex
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, ShardSet, read_manifest, write_manifest
from lasagna.datamodules.shards.members import Members
from lasagna.datamodules.shards.reader import BLOCK, DigestedStream, RawSample, read_samples
from lasagna.datamodules.shards.tally import Skipped, WriteStats, count_entries
from lasagna.datamodules.shards.writer import only_writer
from lasagna.errors import ConfigError, LasagnaError, NoRecordsError, RecordError, ShardError


def index(
    source: Path,
    image: str,
    labels: str = "",
    masks: str = "",
    names: str = "",
    texts: str = "",
    classes: Path | None = None,
    target: Path | None = None,
    pattern: str = "*.tar",
    unannotated: Literal["absent", "unknown"] = "absent",
    void: str | None = None,
    background: str | None = None,
    broken: Literal["stop", "skip"] = "stop",
) -> None:
    """Write a manifest over WebDataset shards that are there already, so that they can be trained and evaluated on.

    No shard is written again. Each is read once, so that the manifest has their checksums and counts.

    Args:
        source: The folder of the shards.
        image: Extension of the images, e.g. "jpg".
        labels: Extension of label maps, PNG files of values that ``classes`` names, e.g. "seg.png".
        masks: Where the masks are in a file of JSON: its extension and the fields, e.g. "json:objects.segmentation".
            They are RLE or lists of polygons, one for each name or text.
        names: Where the classes of the masks are, as texts, or as numbers that ``classes`` names.
        texts: Where the phrases are that mean the masks.
        classes: A file of classes, in one of the forms of ``lasagna convert label_images``.
        target: Where the manifest goes, in a folder with links to the shards; by default it goes beside the shards.
        pattern: Which files are shards, e.g. "train-*.tar".
        unannotated: What it means that a class is not annotated on an image: it is "absent", or it is "unknown".
        void: Names or values of label maps that count in no loss and no score, separated by commas.
        background: Names or values of label maps that belong to no class.
        broken: What to do about records that cannot be used: "stop" with an error, or "skip" and count. Training meets
            them as well, and has an option for that.

    Raises:
        LayoutError: If there are no shards.
        ConfigError: If the annotations are not named, or classes are missing.
        RecordError: If a record cannot be used.
        ShardError: If a shard is broken, or the manifest cannot be written.
        NoRecordsError: If there is nothing to ask for.
    """
    paths = sorted(source.glob(pattern))
    if not paths:
        raise LayoutError(
            f"source: there is no file {pattern} in {source}; name the folder of the shards, or a pattern"
        )
    members = Members(image.lower(), labels.lower(), masks, names, texts)
    _check_members(members, classes)
    folder = source if target is None else target
    check_output(folder, "target")
    if (folder / MANIFEST_FILE).is_file() and read_manifest(folder).members is None:
        raise ShardError(
            f"{folder}: it holds shards that this package has written, with a manifest; choose another folder"
        )
    manifest = Manifest(source.resolve().name, origin="the user's own WebDataset shards", licence="the user's own")
    words: dict[str, str] = {}
    if labels and classes:
        manifest = label_scheme(read_classes(classes), str(classes), void, background).manifest(
            manifest.name, unannotated
        )
    elif names and classes:
        words = {str(code): name for code, name in read_classes(classes).items()}
    reading = _Reading(members, manifest, words, broken)
    shards = tuple(reading.shard(path) for path in track(paths, "reading", transient=True))
    members = replace(members, by_shard=reading.has_doubles)
    if names:
        words = words or {word: word for word in reading.found}
        said = spoken_labels(sorted(words.values()))
        members = replace(members, categories={word: said[name] for word, name in words.items()})
        categories = tuple(dict.fromkeys(said.values()))
        manifest = replace(manifest, categories=categories, aliases=other_labels(said), unannotated=unannotated)
    elif not labels:
        manifest = replace(manifest, unannotated="unknown")
    check_names(manifest)
    settings = {"index": pattern}
    shard_set = ShardSet(LocalFolder(folder), manifest, shards, settings, reading.tally, members=members)
    if reading.tally.is_bare:
        why = "; ".join(reading.tally.lines()[1:]) or "nothing is annotated on them"
        raise NoRecordsError(f"{folder}: none of its {shard_set.records} images has a mask or a phrase; {why}")
    with only_writer(folder):
        if target is not None:
            _link(paths, target)
        write_manifest(shard_set, folder)
    lines = [f"{folder / MANIFEST_FILE}: {shard_set.records} images in {len(shards)} shards", *shard_set.tally.lines()]
    Console().print("\n  ".join(lines), markup=False, highlight=False, soft_wrap=True)


def _check_members(members: Members, classes: Path | None) -> None:
    """Check that there are label maps with classes, or masks with names or texts."""
    if not members.labels and not (members.masks and (members.names or members.texts)):
        raise ConfigError(
            "labels: name the extension of label maps, or where masks and their names or texts are (boxes are no "
            "masks), e.g. `--masks json:objects.segmentation --names json:objects.category`"
        )
    if members.labels and (members.names or classes is None):
        raise ConfigError("classes: label maps need a file that names their values, and have no other names")
    if members.labels and classes and not all(isinstance(code, int) for code in read_classes(classes)):
        raise ConfigError(f"classes: {classes} names colours, and shards that stay as they are must hold values")


class _Reading:
    """Reads shards once: their checksums and keys, the classes of their masks, and what their records hold.

    Args:
        members: Which files of the samples are which part of a record.
        manifest: What is known about the records beforehand.
        words: The name of each class, if they are known; otherwise they are gathered.
        broken: What to do about records that cannot be used, "stop" or "skip".
    """

    def __init__(self, members: Members, manifest: Manifest, words: Mapping[str, str], broken: str) -> None:
        self.members = members
        self.manifest = manifest
        self.words = words
        self.broken = broken
        self.tally = WriteStats()
        self.found: dict[str, None] = {}
        self.has_doubles = False
        self._keys = KeyIndex()

    def shard(self, path: Path) -> Shard:
        keys, digest = Counter[str](), sha256()
        try:
            with path.open("rb") as file:
                stream = DigestedStream(file, digest)
                for sample in read_samples(stream, str(path)):
                    keys[sample["__key__"]] += 1
                    self._count(sample, str(path))
                while stream.read(BLOCK):
                    pass
        except LasagnaError:
            raise
        except (OSError, tarfile.TarError, EOFError, ValueError) as error:
            raise ShardError(f"{path}: the shard cannot be read ({error}); copy it again") from error
        if doubled := [key for key, count in keys.items() if count > 1]:
            raise ShardError(
                f"{path}: {len(doubled)} keys occur twice in it ({shorten(doubled)}); files of a sample must be "
                "together"
            )
        if not keys:
            raise ShardError(f"{path}: the shard holds no samples; leave it out by `--pattern`")
        self.has_doubles |= any([self._keys.add(key) is not None for key in keys])
        return Shard(path.name, len(keys), path.stat().st_size, digest.hexdigest())

    def _count(self, sample: RawSample, where: str) -> None:
        """Decode a record, and count what it holds."""
        words = self.words or {word: word for word in self._classes(sample)}
        self.found |= dict.fromkeys(words)
        # the spelling of a category depends on the whole set, but not which of the words here mean the same
        said = spoken_labels(sorted(words.values()))
        members = replace(self.members, categories={word: said[name] for word, name in words.items()})
        try:
            counts = count_entries(decode_record(members.marked(sample), self.manifest))
        except RecordError as error:
            if self.broken == "stop":
                raise RecordError(f"{where}: {error}") from error
            self.tally.add({}, (Skipped("missing or broken files", str(error)),))
        else:
            self.tally.add(counts, ())

    def _classes(self, sample: RawSample) -> Iterator[str]:
        """Yield the classes of a sample, which are texts."""
        where = f"record {sample['__key__']}"
        try:
            found = self.members.value(sample, self.members.names, where)
        except RecordError:
            return  # counted, or raised, when its record is decoded
        for word in found if isinstance(found, list) else [found]:
            if isinstance(word, str):
                yield word
            elif word is not None:
                raise ConfigError(f"classes: {where} has the class {word!r}; give a file that names the numbers")


def _link(paths: Sequence[Path], target: Path) -> None:
    """Link to the shards from the folder of the manifest."""
    for path in paths:
        link = target / path.name
        if link.is_symlink() and link.resolve() == path.resolve():
            continue
        try:
            link.symlink_to(path.resolve())
        except OSError as error:
            raise ShardError(f"{link}: the link cannot be made ({error.strerror}); choose another target") from error
