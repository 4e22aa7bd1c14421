"""Null in a config, only where an argument takes it.

jsonargparse lets null through for every argument, so that a number that is none fails in the middle of a constructor.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pydoc import locate
from types import NoneType
from typing import Any, get_args
from unittest.mock import patch

from jsonargparse import Namespace, _typehints

from lasagna.errors import ConfigError
from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder

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


PARTS = (VisionEncoder, LanguageModel, MaskHead)
"""Base classes of what does not hand on its arguments."""

_kept_where_accepted: Callable[[Any, Any, Any], None] = _typehints.discard_init_args_on_class_path_change


@contextmanager
def parts_start_anew() -> Iterator[None]:
    """While parsing, drop all arguments of a part whose class changes.

    The parser keeps those that the new class accepts as well, its predecessor's defaults among them. For a task or an
    assistant that is what one wants (its parts stay); a SAM decoder has no use for the chunk of the tiny one.
    """
    with patch.object(_typehints, "discard_init_args_on_class_path_change", _discard):
        yield


def _discard(parser_or_action: Any, before: Any, after: Any) -> None:  # noqa: ANN401 - as the parser calls it
    kinds = [_class(spec) for spec in (before, after)]
    if all(map(_is_part, kinds)) and kinds[0] is not kinds[1] and "init_args" in before:
        before["init_args"] = type(before["init_args"])()
    else:
        # what the parser tries on the new class comes back changed: an adapter as a class, and as its fields as well
        tried = deepcopy(before)
        _kept_where_accepted(parser_or_action, tried, after)
        _drop_others(before, tried)


def _drop_others(spec: Any, kept: Any) -> None:  # noqa: ANN401
    """Drop the arguments of a class that another copy of its description does not have."""
    if isinstance(spec, Namespace) and "init_args" in spec:
        arguments = spec["init_args"]
        for name in sorted(set(arguments.keys(branches=True)) - set(kept["init_args"].keys(branches=True)), key=len):
            if name in arguments:
                del arguments[name]


def _class(spec: Any) -> object:  # noqa: ANN401
    # a class that was named by itself has got its path by now
    return locate(str(spec["class_path"])) if spec else None


def _is_part(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, PARTS)
