"""What is checked before a conversion writes anything: the source, its splits, their files, and the target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lasagna.core.prompt_formats import name_error
from lasagna.core.record import Manifest
from lasagna.core.storage import check_output
from lasagna.datamodules.converters.common.base import Converter, Split
from lasagna.datamodules.converters.common.entries import is_folder_name
from lasagna.datamodules.converters.common.files import LayoutError, shorten
from lasagna.datamodules.converters.common.stored_items import repeated
from lasagna.datamodules.shards.manifest import MANIFEST_FILE, read_manifest, written_files
from lasagna.errors import ConfigError, LasagnaError, ShardError

KEPT = ("JPEG", "MPO", "PNG", "BMP", "WEBP", "TIFF")
"""Formats that shards hold, or that are stored as PNG, by Pillow's names ("MPO": JPEG with several pictures)."""

FOREIGN = ("\\", "%20")
"""Parts of the names of files that other systems and addresses write in another way."""

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")


def check_unpacked(converter: Converter) -> None:
    """Check that a converter's source is not an archive.

    Raises:
        LayoutError: If it is one.
    """
    source = getattr(converter, "source", None)
    if isinstance(source, Path) and _is_archive(source):
        raise LayoutError(f"source: {source} is an archive; unpack it and give the folder")


def packed(converter: Converter) -> str:
    """Return a hint at archives in a converter's folders and their subfolders; empty if there are none."""
    folders = [value for value in vars(converter).values() if isinstance(value, Path) and value.is_dir()]
    found = sorted(
        {path for folder in folders for path in (*folder.glob("*"), *folder.glob("*/*")) if _is_archive(path)}
    )
    return f"\nThese archives are not unpacked: {shorten(list(map(str, found)))}" if found else ""


def _is_archive(path: Path) -> bool:
    return path.suffix.lower() in ARCHIVES and path.is_file()


def choose_splits(
    converter: Converter, target: Path, names: Sequence[str], broken: str
) -> tuple[dict[str, Split], dict[str, LasagnaError]]:
    """Return the splits to write and, where broken files are skipped, the errors of splits that cannot be written.

    Args:
        converter: The data set.
        target: Where the folders of the splits go.
        names: Names of the wanted splits; empty for all.
        broken: "stop" or "skip".

    Raises:
        LayoutError: If a split cannot be written and errors stop the conversion, or no split can be written.
        ShardError: If the target holds anything but shards of these splits.
        ConfigError: If a split is unknown.
    """
    parts = converter.splits()
    if strange := [name for name in parts if not is_folder_name(name)]:
        raise LayoutError(f"source: the split {strange[0]!r} cannot be the name of a folder; rename it")
    _check_target(target, parts)
    if unknown := sorted(set(names) - set(parts)):
        raise ConfigError(f"splits: {shorten(unknown)} do not exist; there are {', '.join(parts)}")
    chosen: dict[str, Split] = {}
    errors: dict[str, LasagnaError] = {}
    for name in (name for name in parts if not names or name in names):
        try:
            split = parts[name]
            _check_keys(name, split)
            check_names(split.manifest)
        except LayoutError as error:
            if broken == "stop":
                hint = f".\nOr convert some of the splits ({', '.join(parts)}) by `--splits`"
                raise LayoutError(f"{error}{'' if names or len(parts) < 2 else hint}") from error
            errors[name] = error
        else:
            chosen[name] = split
    if not chosen:
        raise LayoutError("\n".join(map(str, errors.values())))
    for name, split in chosen.items():
        _check_same(target / name, split.manifest.name)
    return chosen, errors


def _check_target(target: Path, splits: Iterable[str]) -> None:
    check_output(target, "target")
    others = sorted(path.parent.name for path in target.glob(f"*/{MANIFEST_FILE}") if path.parent.name not in splits)
    if others:
        raise ShardError(
            f"target: {target} holds {shorten(others)} of another conversion, which may share images with this one; "
            "choose another folder or remove it first"
        )
    for folder in (target / split for split in splits):
        foreign = sorted(path.name for path in {*folder.glob("*")} - written_files(folder))
        if foreign:
            raise ShardError(f"target: {folder} holds other files ({shorten(foreign)}); choose another folder")


def _check_keys(name: str, split: Split) -> None:
    if doubled := doubled_keys(split.items):
        raise LayoutError(
            f"source: in the split {name!r} {len(doubled)} images are listed several times ({shorten(doubled)}); keep "
            "one entry of each"
        )


def doubled_keys(items: Iterable[Any]) -> list[str]:
    """Return the keys that several items have; items without a key have none.

    Args:
        items: The items, which can be iterated over repeatedly.
    """
    return repeated(lambda: (str(item.key) for item in items if hasattr(item, "key")))


def check_names(manifest: Manifest) -> None:
    """Check that every category can be asked for in every prompt format.

    Raises:
        LayoutError: If a name has a separator or a token of one.
    """
    for name in manifest.categories:
        if error := name_error(name):
            raise LayoutError(f"source: the category {name!r} cannot be asked for ({error}); rename it in the source")


def _check_same(folder: Path, name: str) -> None:
    """Check that a folder does not hold finished shards of another data set."""
    try:
        there = read_manifest(folder).manifest.name
    except ShardError:
        return
    if there != name:
        raise ShardError(
            f"target: {folder} holds the shards of {there!r}, not of {name!r}; choose another folder or remove it first"
        )


def check_files(splits: Mapping[str, Split]) -> None:
    """Check that the files of the splits exist, and that no image's suffix is that of a format shards cannot hold.

    Raises:
        LayoutError: If some are missing or cannot be stored.
    """
    for name, split in splits.items():
        if missing := missing_files(split.files):
            needed, foreign = len({*split.files}), any(mark in path.name for path in missing for mark in FOREIGN)
            hint = "write names as they are here, with / for \\ and without %20, or " if foreign else ""
            raise LayoutError(
                f"source: {len(missing)} of the {needed} files that the split {name!r} needs are missing "
                f"({shorten(list(map(str, missing)))}); {hint}unpack all of them, or go on without them by `--broken "
                "skip`"
            )
        images = (image for item in split.items if isinstance(image := getattr(item, "image", None), Path))
        suffixes = Image.registered_extensions()
        if strange := [path for path in images if suffixes.get(path.suffix.lower(), "PNG") not in KEPT]:
            raise LayoutError(
                f"source: {len(strange)} images of the split {name!r} have a format that shards cannot hold "
                f"({shorten(list(map(str, strange)))}); store them as PNG and name those, or go on without them by "
                "`--broken skip`"
            )


def missing_files(files: Iterable[Path]) -> list[Path]:
    """Return the files that do not exist; lists each folder once, since asking for each file is slow.

    Only a number of each name is in memory.

    Args:
        files: The files.
    """
    known: dict[Path, NDArray[np.int64]] = {}
    missing: dict[Path, None] = {}
    for path in files:
        folder = path.parent
        if folder not in known:
            names = (hash(entry.name) for entry in folder.iterdir()) if folder.is_dir() else ()
            known[folder] = np.sort(np.fromiter(names, np.int64))
        number, there = hash(path.name), known[folder]
        place = int(there.searchsorted(number))
        if place == len(there) or there[place] != number:
            missing[path] = None
    return list(missing)
