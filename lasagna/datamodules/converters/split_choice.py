"""Which splits of a data set are converted, and what is looked at before anything of them is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from lasagna.datamodules.converters.base import Converter, Split
from lasagna.datamodules.converters.files import LayoutError, missing_files, shorten
from lasagna.datamodules.converters.inner_names import is_plain
from lasagna.datamodules.shard_set import MANIFEST_FILE, read_manifest, written_files
from lasagna.errors import ConfigError, LasagnaError, ShardError

KEPT = ("JPEG", "MPO", "PNG", "BMP", "WEBP")
"""Formats that shards hold, as Pillow calls them (those of several pictures in one are JPEG to all others)."""


def choose_splits(
    converter: Converter, target: Path, names: Sequence[str], broken: str
) -> tuple[dict[str, Split], dict[str, LasagnaError]]:
    """Return the splits to write, and where broken files are skipped, why others cannot be written.

    Args:
        converter: The data set.
        target: Where the folders of the splits go.
        names: Names of the splits that are wanted; none for all.
        broken: "stop" or "skip".

    Raises:
        LayoutError: If a split cannot be written, and faults stop or all are so.
        ShardError: If the target holds anything else than shards of these splits.
        ConfigError: If a split is unknown.
    """
    parts = converter.splits()
    if strange := [name for name in parts if not is_plain(name)]:
        raise LayoutError(f"source: the split {strange[0]!r} cannot be the name of a folder; call it otherwise")
    _check_target(target, parts)
    if unknown := sorted(set(names) - set(parts)):
        raise ConfigError(f"splits: {shorten(unknown)} are not there; there are {', '.join(parts)}")
    chosen: dict[str, Split] = {}
    faults: dict[str, LasagnaError] = {}
    for name in (name for name in parts if not names or name in names):
        try:
            chosen[name] = _checked(name, parts)
        except LayoutError as fault:
            if broken == "stop":
                raise LayoutError(f"{fault}{_way_out(parts, names)}") from fault
            faults[name] = fault
    if not chosen:
        raise LayoutError("\n".join(map(str, faults.values())))
    for name, split in chosen.items():
        _check_same(target / name, split.manifest.name)
    return chosen, faults


def check_files(splits: Mapping[str, Split]) -> None:
    """Check that the files of some splits are there, and that images are not called as of a format that is not kept.

    Raises:
        LayoutError: If some are not there or cannot be kept.
    """
    for name, split in splits.items():
        if missing := missing_files(split.files):
            raise LayoutError(
                f"source: {len(missing)} of the {len(split.files)} files that the split {name!r} needs are not there "
                f"({shorten(list(map(str, missing)))}); unpack all of them, or go on without them by `--broken skip`"
            )
        images = (image for item in split.items if isinstance(image := getattr(item, "image", None), Path))
        if strange := [path for path in images if not _may_be_kept(path)]:
            raise LayoutError(
                f"source: {len(strange)} images of the split {name!r} are in a format that shards cannot hold "
                f"({shorten(list(map(str, strange)))}); store them as PNG and name those, or go on without them by "
                "`--broken skip`"
            )


def _may_be_kept(path: Path) -> bool:
    return Image.registered_extensions().get(path.suffix.lower(), "PNG") in KEPT


def _check_target(target: Path, splits: Iterable[str]) -> None:
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


def _way_out(parts: Mapping[str, Split], names: Sequence[str]) -> str:
    return "" if names or len(parts) < 2 else f".\nOr take a part of the splits ({', '.join(parts)}) by `--splits`"


def _checked(name: str, parts: Mapping[str, Split]) -> Split:
    split = parts[name]
    counts = Counter(item.key for item in split.items if hasattr(item, "key"))
    if doubled := [str(key) for key, count in counts.items() if count > 1]:
        raise LayoutError(
            f"source: in the split {name!r} {len(doubled)} images are listed several times ({shorten(doubled)}); keep "
            "one entry of each"
        )
    return split


def _check_same(folder: Path, name: str) -> None:
    """Check that a folder holds no finished shards of another data set."""
    try:
        there = read_manifest(folder).manifest.name
    except ShardError:
        return
    if there != name:
        raise ShardError(
            f"target: {folder} holds the shards of {there!r}, not of {name!r}; choose another folder or remove it first"
        )
