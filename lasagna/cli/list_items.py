"""Lists of objects in configs: a list stands in place of the one before, and its items are addressed by name.

jsonargparse merges a list with an earlier one of the same length, item by item, so that a user's first source would get
the weight of the default's first one; and an argument without an item's name would change the last item.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from pydoc import locate
from typing import Any
from unittest.mock import patch

from jsonargparse import Namespace

from lasagna.core.json_text import parse_json
from lasagna.datamodules.shards.manifest import MANIFEST_FILE
from lasagna.errors import ConfigError

_ANY = "*"
"""Stands for the name of a data set whose shards are not written yet, or not on disk."""

LISTED = "of this list"
"""Part of the errors about an item's name."""

_typehints: Any = import_module("jsonargparse._typehints")  # states no types of what is used here
_adapt: Callable[..., Any] = _typehints.adapt_typehints


@contextmanager
def named_items() -> Iterator[None]:
    """While parsing, let lists replace lists, and take arguments of list items under the names of the items."""
    with patch.object(_typehints, "adapt_typehints", _adapt_lists):
        yield


def _adapt_lists(val: Any, typehint: Any, **options: Any) -> Any:  # noqa: ANN401 - as the parser calls it
    before = options.get("prev_val")
    is_sequence = _typehints.get_typehint_origin(typehint) in _SEQUENCES
    if isinstance(val, list) and not options.get("append"):
        options["prev_val"] = None
    elif options.get("append") and is_sequence and _fields(before):
        options["prev_val"] = [_one_step_deeper(before)]
    elif isinstance(before, list) and before and is_sequence:
        changes = dict(_changes(val, before))
        if changes:
            kind = typehint.__args__[0]
            return [
                _adapt(changes[place], kind, **options | {"prev_val": item}) if place in changes else item
                for place, item in enumerate(before)
            ]
    return _adapt(val, typehint, **options)


_SEQUENCES = _typehints.sequence_origin_types

_RELATIVE = re.compile(r"\$\{\.")
"""Beginning of a reference to another key; it has a dot for each step up."""


def _one_step_deeper(value: Any) -> Any:  # noqa: ANN401
    """Return a value that becomes the first item of a list, with references that lead one step further up."""
    if isinstance(value, Namespace):
        value = dict(value.items(branches=True, nested=False))
    if isinstance(value, Mapping):
        return {name: _one_step_deeper(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_one_step_deeper(part) for part in value]
    return _RELATIVE.sub("${..", value) if isinstance(value, str) else value


def _changes(val: Any, items: list[Any]) -> Iterator[tuple[int, Any]]:  # noqa: ANN401
    """Yield the place of each item that a value changes by name, and what changes it."""
    if isinstance(val, _typehints.NestedArg):
        name, rest = _divided(val.key, items)
        if name:
            yield _place(name, items), _typehints.NestedArg(key=rest, val=val.val)
    elif (changes := _fields(val)) and all(map(_fields, changes.values())):
        for name, change in changes.items():
            yield _place(name, items), change


def _divided(key: str, items: list[Any]) -> tuple[str, str]:
    """Return the name of an item that a key begins with, and the rest; no name if it is an argument of the only item.

    Raises:
        ConfigError: If the key begins with no item's name.
    """
    names = [item_name(item) for item in items]
    steps = key.split(".")
    # a source's own name may contain dots
    heads = [".".join(steps[:end]) for end in range(1, len(steps))]
    found = next((head for head in reversed(heads) if any(_fits(name, head) for name in names)), None)
    if found is None and len(items) > 1:
        example = next((name for name, item in zip(names, items, strict=True) if _takes(item, steps[0])), names[0])
        raise ConfigError(_unknown(steps[0], names, f"begin with an item's name, as in `{example}.{key}`"))
    return ("", key) if found is None else (found, key[len(found) + 1 :])


def _takes(item: Any, argument: str) -> bool:  # noqa: ANN401
    kind = locate(str(_fields(item).get("class_path")))
    return isinstance(kind, type) and argument in inspect.signature(kind).parameters


def _place(name: str, items: list[Any]) -> int:
    """Return the place of an item.

    Raises:
        ConfigError: If no item or several have the name.
    """
    names = [item_name(item) for item in items]
    exact = [place for place, known in enumerate(names) if known == name]
    places = exact or [place for place, known in enumerate(names) if _fits(known, name)]
    if not places:
        raise ConfigError(_unknown(name, names, "choose one of its items"))
    if len(places) > 1:
        raise ConfigError(
            f"{len(places)} items {LISTED} are called {name!r}; give the whole list, or sources a `name` of their own"
        )
    return places[0]


def _unknown(name: str, names: list[str], way_out: str) -> str:
    near = get_close_matches(name, names, n=1)
    note = f" (`{_ANY}` is the name of a data set that is not written yet)" if _ANY in "".join(names) else ""
    hint = f"did you mean {near[0]!r}?" if near else f"{way_out};"
    return f"no item {LISTED} is called {name!r}; {hint} it holds {', '.join(names)}{note}"


def _fits(known: str, name: str) -> bool:
    return fnmatchcase(name, known) if _ANY in known else name == known


def item_name(item: Any) -> str:  # noqa: ANN401
    """Return the name of a list's item: a source's label, as in the keys of scores, or the bare name of a class.

    Args:
        item: The config of the item.
    """
    outer = _fields(item)
    fields = _fields(outer.get("init_args")) if "class_path" in outer else outer
    if "shards" in fields and "task" in fields:
        return str(fields.get("name") or f"{_data_set(str(fields['shards']))}-{_bare(fields['task']).lower()}")
    return _bare(item)


def _bare(spec: Any) -> str:  # noqa: ANN401
    return str(_fields(spec).get("class_path", spec)).rpartition(".")[2]


def _data_set(shards: str) -> str:
    try:
        return str(parse_json((Path(shards) / MANIFEST_FILE).read_text("utf-8"))["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return _ANY


def _fields(value: Any) -> dict[str, Any]:  # noqa: ANN401
    if isinstance(value, Namespace):
        return dict(value.items(branches=True, nested=False))
    return dict(value) if isinstance(value, Mapping) else {}
