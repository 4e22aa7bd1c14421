"""Names in annotation files that must stay within a folder: of files that are read, and of folders that are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from lasagna.datamodules.converters.files import LayoutError


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
