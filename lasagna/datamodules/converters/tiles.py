"""Shards of large pictures, cut into tiles that overlap: records of their own for training."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lasagna.core.record import Manifest
from lasagna.core.tiles import Tile, Tiles
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.cutting import ImageFormat, RecordCutter
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.common.stored_items import StoredItems
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, ShardSet, read_manifest
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import ConfigError, RecordError

EMPTY = "tile in which nothing is annotated"
"""Reason for the tiles that ``empty`` leaves out."""

Files = tuple[tuple[str, int, int], ...]
"""Extension, first byte and number of bytes of each file of a record in its shard."""


class ShardTiles(Converter):
    """Shards of large pictures, cut into tiles that overlap.

    The records of the tiles have the pixels of the picture and of its masks, and the keys "KEY-TOP-LEFT". A category
    without a pixel in a tile is absent from it. Words about the whole picture may be wrong for a part of it, so
    questions, captions and conversations are left out, and so are phrases unless ``phrases`` is "whole".

    Args:
        source: A folder of shards, or one with such a folder for each split.
        size: Height and width of a tile in pixels.
        overlap: Pixels that neighbouring tiles have in common, at least.
        empty: Whether tiles in which nothing is annotated are kept, or dropped and counted.
        phrases: "drop" leaves all phrases out; "whole" keeps those that match nothing and those whose objects all lie
            completely in the tile, which is right if phrases describe appearance only.
        image_format: How the pictures of tiles are stored; JPEG has quality 95 and is smaller.
    """

    def __init__(
        self,
        source: Path,
        size: int = 1024,
        overlap: int = 128,
        empty: Literal["keep", "drop"] = "keep",
        phrases: Literal["drop", "whole"] = "drop",
        image_format: Literal["png", "jpeg"] = "png",
    ) -> None:
        Tiles(size, overlap)  # checks them
        self.source = source
        self.size = size
        self.overlap = overlap
        self.empty = empty
        self.phrases = phrases
        self.image_format = image_format

    def splits(self) -> Mapping[str, Split]:
        """Return the folders of shards by the name of their split.

        Raises:
            LayoutError: If there are no shards.
            ConfigError: Later, if others wrote them (``lasagna index``).
        """
        folders = [self.source] if (self.source / MANIFEST_FILE).is_file() else sorted(self.source.glob("*/"))
        found = {folder.resolve().name: folder for folder in folders if (folder / MANIFEST_FILE).is_file()}
        if not found:
            raise LayoutError(
                f"source: there is no {MANIFEST_FILE} in {self.source} or its folders; expected shards that "
                "`lasagna convert` wrote"
            )
        return LazySplits({name: partial(self._split, folder) for name, folder in found.items()})

    def _split(self, folder: Path) -> Split:
        shard_set, tiles = read_manifest(folder), Tiles(self.size, self.overlap)
        if shard_set.members is not None:
            raise ConfigError(
                f"source: {folder} is an index of shards that others wrote, which are not cut; write them as records, "
                "in Python by `records = lasagna.records(SOURCE)` and `lasagna.datamodules.write_shards(records, "
                "FOLDER, records.manifest)`, and cut those"
            )
        items = StoredItems(
            TileItem(f"{stored.key}-{tile.top}-{tile.left}", stored, tile)
            for stored in _stored_records(shard_set, folder)
            for tile in tiles.of(stored.size)
        )
        read = ReadTile(shard_set.manifest, self.empty == "drop", self.phrases == "whole", self.image_format)
        shards = [folder / shard.file for shard in shard_set.shards]
        note = f"{shard_set.records} pictures in tiles of {self.size} pixels that overlap by {self.overlap} or more"
        return Split(shard_set.manifest, items, read, shards, [note], annotations=(folder / MANIFEST_FILE,))


@dataclass(frozen=True)
class StoredRecord:
    """Where a record is.

    Args:
        key: Its key.
        name: Its key as it stands in file names.
        size: Height and width of its picture.
        shard: Its shard.
        files: Its files in the shard.
    """

    key: str
    name: str
    size: tuple[int, int]
    shard: Path
    files: Files


@dataclass(frozen=True)
class TileItem:
    """A tile of a record.

    Args:
        key: Key of the tile's record.
        stored: Where the record of the picture is.
        tile: Where the tile lies.
    """

    key: str
    stored: StoredRecord
    tile: Tile


def _stored_records(shard_set: ShardSet, folder: Path) -> Iterator[StoredRecord]:
    """Yield where the records are; only their annotations are read.

    Raises:
        LayoutError: If a shard cannot be read.
        RecordError: If a record has no annotations, or they are broken.
    """
    for shard in shard_set.shards:
        path = folder / shard.file
        found: dict[str, list[tuple[str, int, int]]] = {}
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    name, _, extension = member.name.partition(".")
                    found.setdefault(name, []).append((extension, member.offset_data, member.size))
        except (OSError, tarfile.TarError) as error:
            raise LayoutError(f"{path}: the shard cannot be read ({error}); convert it again") from error
        for name, files in found.items():
            annotations = _read(path, tuple(file for file in files if file[0] == "json")).get("json", b"")
            try:
                fields = json.loads(annotations)
                (height, width), key = fields["size"], str(fields["key"])
                yield StoredRecord(key, name, (int(height), int(width)), path, tuple(files))
            except (ValueError, KeyError, TypeError) as error:
                raise RecordError(
                    f"{path}: record {name}: its size cannot be read ({error!r}); convert it again"
                ) from error


def _read(shard: Path, files: Files) -> dict[str, bytes]:
    with shard.open("rb") as stream:
        content = {}
        for extension, first, length in files:
            stream.seek(first)
            content[extension] = stream.read(length)
    return content


class ReadTile:
    """Reads a tile of a record; the last picture is kept, since its tiles are read one after the other.

    Args:
        manifest: What holds for all records.
        drop_empty: Whether tiles in which nothing is annotated are left out.
        whole_phrases: Whether phrases stay whose objects all lie in the tile.
        image_format: How the pictures of tiles are stored.
    """

    def __init__(
        self, manifest: Manifest, drop_empty: bool, whole_phrases: bool, image_format: ImageFormat = "png"
    ) -> None:
        self.manifest = manifest
        self.drop_empty = drop_empty
        self.whole_phrases = whole_phrases
        self.image_format = image_format
        self._last: tuple[StoredRecord, RecordCutter] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings, without the picture, for other processes."""
        return {**vars(self), "_last": None}

    def __call__(self, item: TileItem) -> ReadResult:
        """Cut one tile.

        Raises:
            RecordError: If the record cannot be decoded or cut.
        """
        cut = self._cutter(item.stored).cut(item.tile, item.key)
        if self.drop_empty and not (cut.category_masks() or cut.phrases):
            return ReadResult(None, (Skipped(EMPTY, item.key),))
        return ReadResult(cut)

    def _cutter(self, stored: StoredRecord) -> RecordCutter:
        if self._last is None or self._last[0] != stored:
            self._last = None  # before the next picture is decoded, so that only one is in memory
            record = decode_record({"__key__": stored.name, **_read(stored.shard, stored.files)}, self.manifest)
            self._last = stored, RecordCutter(record, self.whole_phrases, self.image_format)
        return self._last[1]
