"""Checking that the entries of an annotation file have what is needed of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lasagna.datamodules.converters.files import LayoutError

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
