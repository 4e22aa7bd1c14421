"""Finding and reading the files of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.record import BROKEN_IMAGE, decode_image, image_fault
from lasagna.datamodules.converters.common.base import Converter
from lasagna.datamodules.shards.codec import image_extension
from lasagna.errors import LasagnaError, RecordError

MOST_LISTED = 5
"""How many of many names a message shows."""


class LayoutError(LasagnaError, OSError):
    """A folder that is not laid out as the data set's releases are."""


@dataclass(frozen=True)
class Pair:
    """An image file and its label file.

    Args:
        key: Name of the record.
        image: The image file.
        label: The label file.
    """

    key: str
    image: Path
    label: Path


def files_by_key(folder: Path, suffixes: Sequence[str], ending: str = "") -> dict[str, Path]:
    """Return the files of a folder by their stem without ``ending``, sorted; hidden files are passed over.

    Args:
        folder: Where to look.
        suffixes: File name suffixes to take, lower case with the dot.
        ending: What stems must end in, e.g. "_L".

    Raises:
        LayoutError: If the folder is missing, or two files carry the same key.
    """
    if not folder.is_dir():
        raise LayoutError(f"{folder}: there is no such folder")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and path.stem.endswith(ending) and not path.name.startswith("."):
            key = path.stem.removesuffix(ending)
            if key in found:
                raise LayoutError(f"{folder}: it holds both {found[key].name} and {path.name}; keep one of them")
            found[key] = path
    return found


def pair_up(images: Mapping[str, Path], labels: Mapping[str, Path], place: str) -> list[Pair]:
    """Join images and label files that carry the same key (see ``listed_pairs``).

    Args:
        images: Image files by key.
        labels: Label files by key.
        place: Where they were found, for the message.

    Returns:
        The pairs, in the order of the images; label files without an image come last.

    Raises:
        LayoutError: If there are images and no label files, or the other way round.
    """
    return listed_pairs(images, labels, list(dict.fromkeys((*images, *labels))), place)


def listed_pairs(images: Mapping[str, Path], labels: Mapping[str, Path], keys: Sequence[str], place: str) -> list[Pair]:
    """Join the images and label files that a list names.

    Where one of the two is missing, the pair names the file that should be there, so that whoever needs it says so or
    counts it.

    Args:
        images: Image files by key.
        labels: Label files by key.
        keys: The list.
        place: Where they were found, for the message.

    Raises:
        LayoutError: If there are images and no label files, the other way round, or neither of what is listed; or the
            list names something in another folder.
    """
    if keys and not images and not labels:
        raise LayoutError(f"{place}: {len(keys)} images are listed, and none of them is there ({shorten(keys)})")
    if strange := [key for key in keys if Path(key).name != key]:
        raise LayoutError(f"{place}: listed are {shorten(strange)}, which are no names of files; correct the list")
    if bool(images) != bool(labels):
        alone = f"{len(images)} images" if images else f"{len(labels)} label files"
        there = shorten(list(images or labels))
        raise LayoutError(f"{place}: {alone} ({there}) and no {'label files' if images else 'images'}; unpack both")
    return [Pair(key, images.get(key) or _beside(images, key), labels.get(key) or _beside(labels, key)) for key in keys]


def _beside(files: Mapping[str, Path], key: str) -> Path:
    """Return where the file of a key would be, were it called as the others are."""
    known, path = next(iter(files.items()))
    return path.with_name(path.name.replace(known, key, 1))


def read_file(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        RecordError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: the file cannot be read ({error.strerror})") from error


def read_image_file(path: Path) -> tuple[bytes, tuple[int, int]]:
    """Return an image file as it is, and its height and width; it is decoded to be sure that it can be.

    Args:
        path: The file.

    Raises:
        RecordError: If it is missing, cannot be decoded, or is of a format that shards cannot hold.
    """
    data = read_file(path)
    height, width = decode_image(data, str(path)).shape[:2]
    image_extension(data, str(path))
    return data, (height, width)


def png_of(labels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    """Return a label map ``[H, W]`` as PNG of one channel, of 8 or 16 bits."""
    buffer = BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def first_folder(places: Sequence[Path], wanted: str) -> Path:
    """Return the first of some folders that is there.

    Args:
        places: Where it may be.
        wanted: What is looked for, and the tree that is expected, for the message.

    Raises:
        LayoutError: If there is none.
    """
    for place in places:
        if place.is_dir():
            return place
    looked = " or ".join(map(str, places))
    raise LayoutError(f"source: there is no {looked}; expected{wanted}")


def missing_files(files: Iterable[Path]) -> list[Path]:
    """Return which of some files are not there; lists each folder once, since asking for each file is slow."""
    known: dict[Path, set[str]] = {}
    missing = []
    for path in files:
        folder = path.parent
        if folder not in known:
            known[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if path.name not in known[folder]:
            missing.append(path)
    return missing


def read_label_file(path: Path, mode: str | None = None) -> NDArray[np.uint8]:
    """Return the pixels of a label file as they are, or turned into a mode of Pillow.

    Args:
        path: The file.
        mode: E.g. "RGB"; None keeps the values (a palette is not applied).

    Raises:
        RecordError: If it cannot be decoded.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image if mode is None else image.convert(mode))
    except BROKEN_IMAGE as error:
        raise RecordError(f"{path}: the label file cannot be decoded ({image_fault(error)})") from error


def text_lines(path: Path) -> list[str]:
    """Return the lines of a small text file.

    Raises:
        LayoutError: If it cannot be read or is no text.
    """
    try:
        return path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LayoutError(f"{path}: the file cannot be read as text ({error}); unpack it again") from error


def without_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Return the note of a split that some images were left out since nobody annotated them; none if there are none."""
    said = f"{len(names)} images have no annotation ({shorten(names)}) and were left out"
    return (said,) if names else ()


def shorten(names: Sequence[str]) -> str:
    """Return the first few names, and dots if there are more."""
    return ", ".join(names[:MOST_LISTED]) + (", ..." if len(names) > MOST_LISTED else "")


ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def check_unpacked(converter: Converter) -> None:
    """Check that a converter's source is no archive.

    Raises:
        LayoutError: If it is one.
    """
    source = getattr(converter, "source", None)
    if isinstance(source, Path) and _is_archive(source):
        raise LayoutError(f"source: {source} is an archive; unpack it and give the folder")


def packed(converter: Converter) -> str:
    """Say which archives lie in a converter's folders, and in the folders within; empty if there are none."""
    folders = [value for value in vars(converter).values() if isinstance(value, Path) and value.is_dir()]
    found = sorted(
        {path for folder in folders for path in (*folder.glob("*"), *folder.glob("*/*")) if _is_archive(path)}
    )
    return f"\nThese were not unpacked: {shorten(list(map(str, found)))}" if found else ""


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() in ARCHIVES and path.is_file()


ID = (int, str)
"""Kinds of ids: COCO's are numbers, those of exports may be texts."""

Kinds = Mapping[str, type | tuple[type, ...]]
"""Field to what its value may be."""

_WORDS = {int: "a number", str: "a text", list: "a list", dict: "an object"}
_SHOWN = 60


def check_entries(entries: Any, kinds: Kinds, where: str) -> None:  # noqa: ANN401
    """Check that each of some entries is an object with certain fields; it may have others.

    Args:
        entries: The entries.
        kinds: Fields that each must have.
        where: What they are, for messages, e.g. "instances.json: images".

    Raises:
        LayoutError: If they are no list, or one lacks a field or has it of another kind; names the first.
    """
    if not isinstance(entries, list):
        raise LayoutError(f"{where}: expected a list, got {_shown(entries)}")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise LayoutError(f"{where}[{place}]: expected an object, got {_shown(entry)}")
        for field, kind in kinds.items():
            if not isinstance(entry.get(field), kind):
                raise LayoutError(f"{where}[{place}]: {_fault(entry, field, kind)}")


def check_texts(entries: Iterable[Mapping[str, Any]], field: str, kind: tuple[type, ...], where: str) -> None:
    """Check a field that entries may have and that lists texts, or ids.

    Args:
        entries: The entries.
        field: The field.
        kind: What its values may be.
        where: What the entries are, for messages.

    Raises:
        LayoutError: If it is no list, or holds another value; names the first.
    """
    for place, entry in enumerate(entries):
        values = entry.get(field, [])
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise LayoutError(f"{where}[{place}]: `{field}` must list {_named(kind)}, got {_shown(values)}")


def _fault(entry: Mapping[str, Any], field: str, kind: type | tuple[type, ...]) -> str:
    if field not in entry:
        return f"`{field}` is missing; it has {', '.join(map(str, entry)) or 'nothing'}"
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return f"`{field}` must be {_named(kinds)}, got {_shown(entry[field])}"


def _named(kinds: tuple[type, ...]) -> str:
    return " or ".join(_WORDS[kind] for kind in kinds)


def _shown(value: Any) -> str:  # noqa: ANN401
    return repr(value)[:_SHOWN]


def leads_out(name: str) -> bool:
    """Say whether a file's name leads out of the folder that it is looked for in: it is absolute, or has a ".."."""
    windows = PureWindowsPath(name)
    return bool(windows.anchor) or PurePosixPath(name).is_absolute() or ".." in windows.parts


def is_plain(name: str) -> bool:
    """Say whether a name can be that of a folder within another one: it has no slashes and is no step upwards."""
    return bool(name.strip()) and PureWindowsPath(name).name == name != ".."


def check_inner(name: str, where: str) -> str:
    """Return a file's name if it leads nowhere else.

    Args:
        name: The name.
        where: Whose it is, for the message.

    Raises:
        LayoutError: If it leads out of the folder that it is looked for in.
    """
    if leads_out(name):
        raise LayoutError(f"{where}: the name {name!r} leads out of the folder of its files; name a file within it")
    return name


def check_inner_names(entries: Iterable[Mapping[str, Any]], field: str, where: str) -> None:
    """Check the names of files in a field that entries may have.

    Args:
        entries: The entries.
        field: The field.
        where: What they are, for the message.

    Raises:
        LayoutError: If one leads out of the folder of its files; names the first.
    """
    for place, entry in enumerate(entries):
        if isinstance(name := entry.get(field), str):
            check_inner(name, f"{where}[{place}]")
