"""Null on the command line, at any depth of a config.

jsonargparse hands the value of an option that leads into a class on to that class's own parser as Python writes it, so
that null arrives there as the text "None": a tokeniser of that name, or an adapter whose class nobody knows. Where a
value holds null, the option is stated once more as one mapping, which arrives as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import reduce
from typing import Any

from yaml import YAMLError, safe_load  # type: ignore[import-untyped]

from lasagna.typed_options import Key, TypedOption, typed_options

_GROUP = "trainer"
"""Options below this are the parser's own; below others, the first part of the key alone is."""


def nulls_kept(argv: list[str]) -> list[str]:
    """Return a command line in which null is null.

    Args:
        argv: The command line.
    """
    return [word for option in typed_options(argv) for word in _kept(option)]


def _kept(option: TypedOption) -> tuple[str, ...]:
    root, inner = _divided(option.key)
    content = _content(option.value) if option.is_option and inner else None
    # what ends in a plus adds to a list, which no mapping says
    if not inner or not _holds_null(content) or not option.value.strip() or option.name.endswith("+"):
        return option.words
    whole = reduce(lambda value, name: {name: value}, reversed(inner), content)
    return (f"--{'.'.join(root)}={json.dumps(whole, default=str)}",)


def _divided(key: Key) -> tuple[Key, Key]:
    own = 2 if key[:1] == (_GROUP,) else 1
    return key[:own], key[own:]


def _content(value: str) -> Any:  # noqa: ANN401
    """Return what a value says; its own text if it is no YAML, which the parser tells."""
    try:
        return safe_load(value)
    except YAMLError:
        return value


def _holds_null(content: Any) -> bool:  # noqa: ANN401
    if isinstance(content, Mapping):
        return any(map(_holds_null, content.values()))
    return any(map(_holds_null, content)) if isinstance(content, list) else content is None
