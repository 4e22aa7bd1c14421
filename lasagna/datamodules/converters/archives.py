"""Archives that were not unpacked."""

from __future__ import annotations

from pathlib import Path

from lasagna.datamodules.converters.base import Converter
from lasagna.datamodules.converters.files import LayoutError, shorten

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
