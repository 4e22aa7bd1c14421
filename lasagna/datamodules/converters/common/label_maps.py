"""Data sets with a label file for each image: pair the files up and read the pairs as records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters.common.base import Split
from lasagna.datamodules.converters.common.entries import leads_out
from lasagna.datamodules.converters.common.files import (
    MOST_LISTED,
    LayoutError,
    label_pixels,
    png_of,
    read_image_file,
    shorten,
)
from lasagna.datamodules.converters.common.object_maps import ReadObjects
from lasagna.datamodules.shards.tally import ReadResult
from lasagna.errors import RecordError


@dataclass(frozen=True)
class Pair:
    """An image file and its label file.

    Args:
        key: Name of the record.
        image: The image file.
        label: The label file.
        objects: The file that tells objects apart, or None.
    """

    key: str
    image: Path
    label: Path
    objects: Path | None = None


def files_by_key(folder: Path, suffixes: Sequence[str], ending: str = "", deep: bool = False) -> dict[str, Path]:
    """Return the files of a folder by their stem without ``ending``, sorted; hidden files are skipped.

    Args:
        folder: Where to look.
        suffixes: File name suffixes to take, lower case with the dot.
        ending: What stems must end in, e.g. "_L".
        deep: Whether to look into subfolders, whose names with slashes then begin the keys of their files.

    Raises:
        LayoutError: If the folder is missing, or two files have the same key.
    """
    if not folder.is_dir():
        raise LayoutError(f"{folder}: there is no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if path.suffix.lower() in suffixes and path.stem.endswith(ending) and not hidden:
            key = inner.with_suffix("").as_posix().removesuffix(ending)
            if key in found:
                raise LayoutError(f"{path.parent}: it holds both {found[key].name} and {path.name}; keep one of them")
            found[key] = path
    return found


def pair_up(images: Mapping[str, Path], labels: Mapping[str, Path], place: str) -> list[Pair]:
    """Pair images and label files that have the same key (see ``listed_pairs``).

    Args:
        images: Image files by key.
        labels: Label files by key.
        place: Where they were found, for the message.

    Returns:
        The pairs, in the order of the images; label files without an image come last.

    Raises:
        LayoutError: If there are images but no label files, or the other way round.
    """
    return listed_pairs(images, labels, list(dict.fromkeys((*images, *labels))), place)


def listed_pairs(images: Mapping[str, Path], labels: Mapping[str, Path], keys: Sequence[str], place: str) -> list[Pair]:
    """Pair the images and label files that a list names.

    Where one of the two is missing, the pair names the file that should exist, so that the conversion reports or
    counts it.

    Args:
        images: Image files by key.
        labels: Label files by key.
        keys: The list.
        place: Where they were found, for the message.

    Raises:
        LayoutError: If there are images but no label files, the other way round, or neither for a list that is not
            empty; or the list names something in another folder.
    """
    if keys and not images and not labels:
        raise LayoutError(f"{place}: {len(keys)} images are listed, but none of them exists ({shorten(keys)})")
    if strange := [key for key in keys if leads_out(key) or ("/" in key and not any("/" in name for name in images))]:
        raise LayoutError(f"{place}: the list has {shorten(strange)}, which are not file names; correct the list")
    if bool(images) != bool(labels):
        found = f"{len(images)} images" if images else f"{len(labels)} label files"
        there = shorten(list(images or labels))
        raise LayoutError(f"{place}: {found} ({there}) and no {'label files' if images else 'images'}; unpack both")
    return [
        Pair(key, images.get(key) or _expected(images, key), labels.get(key) or _expected(labels, key)) for key in keys
    ]


def _expected(files: Mapping[str, Path], key: str) -> Path:
    """Return where the file of a key should be, judging by the name of another one."""
    known, path = next(iter(files.items()))
    root, wanted = path.parents[known.count("/")], PurePosixPath(key)
    return root / wanted.parent / path.name.replace(PurePosixPath(known).name, wanted.name, 1)


def without_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Return the note that images without annotations were left out; empty if there are none."""
    note = f"{len(names)} images have no annotation ({shorten(names)}) and were left out"
    return (note,) if names else ()


LabelEncoder = Callable[[Path], bytes]
"""Takes the path of a label file and returns a PNG of one channel with the manifest's label values."""


@dataclass(frozen=True)
class LabelledImages:
    """Reads an image with its label file.

    Args:
        manifest: What holds for all records.
        encode_labels: Turns a label file into a label map.
        read_objects: Tells the objects apart where a pair has a file for that, or None.
    """

    manifest: Manifest
    encode_labels: LabelEncoder
    read_objects: ReadObjects | None = None

    def __call__(self, pair: Pair) -> ReadResult:
        """Read one pair; the image's bytes stay as they are, but are decoded to make sure that they can be.

        Raises:
            RecordError: If image, label map or map of objects is broken, has unknown values, or they differ in size.
        """
        image_bytes, size = read_image_file(pair.image)
        labels, regions = self.encode_labels(pair.label), self._regions(pair)
        if other := [region.mask.size for region in regions if region.mask.size != size]:
            raise RecordError(f"{pair.objects}: it has size {other[0]}, the image {size}; both must agree")
        record = Record(pair.key, image_bytes, size, self.manifest, regions, label_bytes=labels)
        try:
            _ = record.label_map
        except RecordError as error:
            raise RecordError(f"{pair.label}: {error}") from error
        return ReadResult(record)

    def _regions(self, pair: Pair) -> tuple[Region, ...]:
        if pair.objects is None or self.read_objects is None:
            return ()
        return self.read_objects(pair.label, pair.objects)


def labelled_split(
    manifest: Manifest,
    pairs: Sequence[Pair],
    encode_labels: LabelEncoder,
    notes: Sequence[str] = (),
    read_objects: ReadObjects | None = None,
) -> Split:
    """Return a split of images with label files.

    Args:
        manifest: What holds for all of its records.
        pairs: Its images with their label files, in the order in which they are written.
        encode_labels: Turns a label file into a label map.
        notes: Remarks about the split, printed with the summary.
        read_objects: Tells the objects apart where a pair has a file for that, or None.
    """
    files = [path for pair in pairs for path in (pair.image, pair.label, pair.objects) if path is not None]
    return Split(manifest, pairs, LabelledImages(manifest, encode_labels, read_objects), files, notes)


def with_objects(pairs: Sequence[Pair], files: Mapping[str, Path]) -> list[Pair]:
    """Return pairs with the files that tell their objects apart; those without one stay as they are.

    Args:
        pairs: The pairs.
        files: Maps of objects by key.
    """
    return [replace(pair, objects=files.get(pair.key)) for pair in pairs]


Colour = tuple[int, int, int]


class ColourLabels:
    """Turns label files of colours into label maps.

    Args:
        values: Label value of each colour (red, green, blue).
        way_out: What to do about other colours, for the message.
    """

    def __init__(
        self, values: Mapping[Colour, int], way_out: str = "repair the file, or remove it with its image"
    ) -> None:
        self.way_out = way_out
        codes = np.array([colour_codes(np.array(colour)) for colour in values])
        order = np.argsort(codes)
        self.codes = codes[order]
        kind = np.uint8 if max(values.values()) < 1 << 8 else np.uint16
        self.values = np.array(list(values.values()), dtype=kind)[order]

    def __call__(self, path: Path) -> bytes:
        """Return the label map of a label file as PNG of one channel.

        Raises:
            RecordError: If the file cannot be decoded or has a colour of no class.
        """
        return png_of(self.values_of(path, str(path)))

    def values_of(self, source: Path | BytesIO, where: str) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """Return the label map of a label file, ``[H, W]``.

        Args:
            source: The file, or its content.
            where: What it is, for messages.

        Raises:
            RecordError: If the file cannot be decoded or has a colour of no class.
        """
        codes = colour_codes(label_pixels(source, where, "RGB"))
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        unknown = self.codes[place] != codes
        if unknown.any():
            raise RecordError(f"{where}: {_describe(codes[unknown])}; {self.way_out}")
        found: NDArray[np.uint8] | NDArray[np.uint16] = self.values[place]
        return found


def colour_codes(pixels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return colours ``[..., 3]`` as one number each ``[...]``."""
    # in place: large pictures would take 24 bytes a pixel more
    codes = np.array(pixels[..., 0], dtype=np.int64)
    for channel in (1, 2):
        codes <<= 8
        codes |= pixels[..., channel]
    return codes


def _describe(codes: NDArray[np.int64]) -> str:
    colours, counts = np.unique(codes, return_counts=True)
    shown = [
        f"({code >> 16}, {code >> 8 & 255}, {code & 255}) on {count} pixels"
        for code, count in sorted(zip(colours.tolist(), counts.tolist(), strict=True), key=lambda pair: -pair[1])
    ]
    return f"{len(shown)} colours that belong to no class, e.g. {', '.join(shown[:MOST_LISTED])}"
