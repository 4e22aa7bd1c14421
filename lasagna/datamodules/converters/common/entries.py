"""Check what annotation files contain: the fields of their entries, and the file names in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from lasagna.core.json_text import parse_json
from lasagna.datamodules.converters.common.files import LayoutError

ID = (int, str)
"""Types of ids: COCO's are numbers, those of exports may be texts."""

Kinds = Mapping[str, type | tuple[type, ...]]
"""Field to the types that its value may have."""

_WORDS = {int: "a number", str: "a text", list: "a list", dict: "an object"}
_SHOWN = 60


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Read a JSON file of a data set.

    Raises:
        LayoutError: If it is missing or is not JSON.
    """
    try:
        return parse_json(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise LayoutError(f"{path}: the annotation file is missing; unpack it there, or correct the source") from error
    except (OSError, ValueError) as error:
        raise LayoutError(f"{path}: the annotation file cannot be read ({error}); unpack it again") from error


def check_entries(entries: Any, kinds: Kinds, where: str) -> None:  # noqa: ANN401
    """Check that each entry is an object with certain fields; it may have others.

    Args:
        entries: The entries.
        kinds: Fields that each entry must have.
        where: What the entries are, for messages, e.g. "instances.json: images".

    Raises:
        LayoutError: If they are not a list, or an entry lacks a field or has a value of another type; names the first.
    """
    if not isinstance(entries, list):
        raise LayoutError(f"{where}: expected a list, got {_shown(entries)}")
    for place, entry in enumerate(entries):
        check_entry(entry, kinds, f"{where}[{place}]")


def check_entry(entry: Any, kinds: Kinds, where: str) -> None:  # noqa: ANN401
    """Check that an entry is an object with certain fields; it may have others.

    Args:
        entry: The entry.
        kinds: Fields that it must have.
        where: What it is, for messages.

    Raises:
        LayoutError: If it lacks a field or has a value of another type.
    """
    if not isinstance(entry, dict):
        raise LayoutError(f"{where}: expected an object, got {_shown(entry)}")
    for field, kind in kinds.items():
        if field not in entry:
            there = ", ".join(map(str, entry)) or "nothing"
            raise LayoutError(f"{where}: `{field}` is missing; it has {there}")
        if not isinstance(entry[field], kind):
            wanted = _named(kind if isinstance(kind, tuple) else (kind,))
            raise LayoutError(f"{where}: `{field}` must be {wanted}, got {_shown(entry[field])}")


def check_lists(entries: Iterable[Mapping[str, Any]], field: str, kind: tuple[type, ...], where: str) -> None:
    """Check an optional field of entries that lists texts or ids.

    Args:
        entries: The entries.
        field: The field.
        kind: The types that its values may have.
        where: What the entries are, for messages.

    Raises:
        LayoutError: If it is not a list, or holds another value; names the first.
    """
    for place, entry in enumerate(entries):
        values = entry.get(field, [])
        if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
            raise LayoutError(f"{where}[{place}]: `{field}` must list {_named(kind)}, got {_shown(values)}")


def _named(kinds: tuple[type, ...]) -> str:
    return " or ".join(_WORDS[kind] for kind in kinds)


def _shown(value: Any) -> str:  # noqa: ANN401
    return repr(value)[:_SHOWN]


def leads_out(name: str) -> bool:
    """Return whether a file's name leads out of its folder: it is absolute, or has a ".."."""
    windows = PureWindowsPath(name)
    return bool(windows.anchor) or PurePosixPath(name).is_absolute() or ".." in windows.parts


def is_folder_name(name: str) -> bool:
    """Return whether a name can be that of a folder within another one: it has no slashes and is not ".."."""
    return bool(name.strip()) and PureWindowsPath(name).name == name != ".."


def check_inner(name: str, where: str) -> str:
    """Return a file's name if it stays within its folder.

    Args:
        name: The name.
        where: What names it, for the message.

    Raises:
        LayoutError: If it leads out of the folder.
    """
    if leads_out(name):
        raise LayoutError(f"{where}: the name {name!r} leads out of the folder of its files; name a file within it")
    return name


def check_inner_names(entries: Iterable[Mapping[str, Any]], field: str, where: str) -> None:
    """Check the file names in an optional field of entries.

    Args:
        entries: The entries.
        field: The field.
        where: What the entries are, for the message.

    Raises:
        LayoutError: If a name leads out of the folder of its files; names the first.
    """
    for place, entry in enumerate(entries):
        if isinstance(name := entry.get(field), str):
            check_inner(name, f"{where}[{place}]")
