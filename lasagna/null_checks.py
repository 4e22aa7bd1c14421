"""Null in a config, only where an argument takes it.

jsonargparse lets null through for every argument, so that a number that is none fails in the middle of a constructor.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from pydoc import locate
from types import NoneType
from typing import Any, get_args

from jsonargparse import Namespace

from lasagna.errors import ConfigError

_CLASS, _ARGUMENTS = "class_path", "init_args"


def check_nulls(config: Namespace, place: str = "") -> None:
    """Check a parsed config.

    Args:
        config: The config, or a part of it.
        place: Key of the part, for the message.

    Raises:
        ConfigError: If it says null where an argument of a class takes a value alone.
    """
    faults = [f"{key}: expected {kind}, got null" for key, kind in _faults(config, place, None)]
    if faults:
        raise ConfigError("; ".join(faults))


def _faults(value: Any, place: str, hint: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    for rank, item in enumerate(value if isinstance(value, list) else ()):
        yield from _faults(item, f"{place}[{rank}]", hint)
    arguments, kind = _described(value, hint)
    parameters = _parameters(kind)
    for name, part in arguments.items():
        key = f"{place}.{name}" if place else name
        parameter = parameters.get(name)
        if part is None and parameter is not None and not _takes_null(parameter):
            yield key, _called(parameter.annotation)
        yield from _faults(part, key, None if parameter is None else parameter.annotation)


def _described(value: Any, hint: Any) -> tuple[Mapping[str, Any], object]:  # noqa: ANN401
    """Return arguments and the class that takes them: the one that is named, or else that of the hint."""
    parts = _mapping(value)
    if isinstance(parts.get(_CLASS), str):
        return _mapping(parts.get(_ARGUMENTS)), locate(parts[_CLASS])
    return parts, next((member for member in _members(hint) if isinstance(member, type)), None)


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    if isinstance(value, Namespace):
        return dict(value.items(branches=True, nested=False))
    return {str(name): part for name, part in value.items()} if isinstance(value, Mapping) else {}


def _parameters(kind: object) -> Mapping[str, inspect.Parameter]:
    if not isinstance(kind, type):
        return {}
    try:
        return inspect.signature(kind, eval_str=True).parameters
    except (NameError, TypeError, ValueError):  # a type that is imported for type checkers alone, or no signature
        return {}


def _members(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return what a hint is made of: the members of a union, or of a list's items."""
    return tuple(part for each in get_args(hint) for part in _members(each)) or (hint,)


def _takes_null(parameter: inspect.Parameter) -> bool:
    hint = parameter.annotation
    open_to_all = hint in (Any, object, parameter.empty)
    return open_to_all or parameter.default is None or NoneType in (hint, *get_args(hint))


def _called(hint: Any) -> str:  # noqa: ANN401
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
