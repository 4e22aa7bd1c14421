"""Rules that jsonargparse lacks: null only where an argument takes it, and a new part inherits no arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import is_dataclass
from pydoc import locate
from types import NoneType
from typing import Any, get_args
from unittest.mock import patch

from jsonargparse import Namespace, _typehints
from lightning import LightningDataModule

from lasagna.core.foreign import parameters_of
from lasagna.errors import ConfigError
from lasagna.modules.base import LanguageModel, MaskHead, VisionEncoder
from lasagna.modules.losses import SegmentationLoss

_CLASS, _ARGUMENTS = "class_path", "init_args"


def check_settings(name: str, settings: object) -> None:
    """Check that the settings of a part of the config have names.

    Args:
        name: Name of the part.
        settings: Its settings.

    Raises:
        ConfigError: If they are something else, such as a list, which the parser lets through.
    """
    if not isinstance(settings, Namespace):
        raise ConfigError(f"{name}: expected settings (`key: value`), got a {type(settings).__name__}")


def check_nulls(config: Namespace, place: str = "") -> None:
    """Check a parsed config.

    Args:
        config: The config, or a part of it.
        place: Key of the part, for the message.

    Raises:
        ConfigError: If it gives null to an argument that does not take it, or a list to one that has settings, which
            the parser lets through.
    """
    errors = [f"{key}: expected {kind}" for key, kind in _wrong_nulls(config, place, None)]
    if errors:
        raise ConfigError("; ".join(errors))


def _wrong_nulls(value: Any, place: str, hint: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Yield key and type of each argument that is null, or a list, and must not be; and what it is."""
    for rank, item in enumerate(value if isinstance(value, list) else ()):
        yield from _wrong_nulls(item, f"{place}[{rank}]", hint)
    arguments, kind = _described(value, hint)
    parameters = parameters_of(kind)
    for name, part in arguments.items():
        key = f"{place}.{name}" if place else name
        parameter = parameters.get(name)
        if part is None and parameter is not None and not _takes_null(parameter):
            yield key, f"{_called(parameter.annotation)}, got null"
        if isinstance(part, list) and parameter is not None and is_dataclass(parameter.annotation):
            yield key, "settings (`key: value`), got a list"
        yield from _wrong_nulls(part, key, None if parameter is None else parameter.annotation)


def _described(value: Any, hint: Any) -> tuple[Mapping[str, Any], object]:  # noqa: ANN401
    """Return arguments and the class that takes them: the named one, or that of the type hint."""
    parts = _mapping(value)
    if isinstance(parts.get(_CLASS), str):
        return _mapping(parts.get(_ARGUMENTS)), locate(parts[_CLASS])
    return parts, next((member for member in _members(hint) if isinstance(member, type)), None)


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401
    if isinstance(value, Namespace):
        return dict(value.items(branches=True, nested=False))
    return {str(name): part for name, part in value.items()} if isinstance(value, Mapping) else {}


def _members(hint: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Return the types that a hint consists of: the members of a union, or those of a list's items."""
    return tuple(part for each in get_args(hint) for part in _members(each)) or (hint,)


def _takes_null(parameter: inspect.Parameter) -> bool:
    hint = parameter.annotation
    open_to_all = hint in (Any, object, parameter.empty)
    return open_to_all or parameter.default is None or NoneType in (hint, *get_args(hint))


def _called(hint: Any) -> str:  # noqa: ANN401
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


PARTS = (VisionEncoder, LanguageModel, MaskHead)
"""Base classes whose subclasses share no arguments when one replaces another."""

_kept_where_accepted: Callable[[Any, Any, Any], None] = _typehints.discard_init_args_on_class_path_change


@contextmanager
def parts_start_anew() -> Iterator[None]:
    """While parsing, drop all arguments of a part whose class changes.

    The parser keeps those that the new class accepts too, including the defaults of the old one. That is right for a
    task or an assistant, whose parts stay; but a SAM decoder must not get the chunk size of the tiny one.
    """
    with patch.object(_typehints, "discard_init_args_on_class_path_change", _discard):
        yield


def _discard(parser_or_action: Any, before: Any, after: Any) -> None:  # noqa: ANN401 - as the parser calls it
    kinds = [_class(spec) for spec in (before, after)]
    is_swap = all(map(_is_part, kinds)) or _is_default_loss(kinds[0]) or _is_other_data(*kinds)
    if is_swap and kinds[0] is not kinds[1] and "init_args" in before:
        before["init_args"] = type(before["init_args"])()
    else:
        # trying the arguments on the new class changes them: an adapter becomes a class and also its fields
        tried = deepcopy(before)
        _kept_where_accepted(parser_or_action, tried, after)
        _drop_others(before, tried)


def _drop_others(spec: Any, kept: Any) -> None:  # noqa: ANN401
    """Drop the arguments of a class that another copy of its config lacks."""
    if isinstance(spec, Namespace) and "init_args" in spec:
        arguments = spec["init_args"]
        for name in sorted(set(arguments.keys(branches=True)) - set(kept["init_args"].keys(branches=True)), key=len):
            if name in arguments:
                del arguments[name]


def _class(spec: Any) -> object:  # noqa: ANN401
    # a bare class name has been replaced by its path by now
    return locate(str(spec["class_path"])) if spec else None


def _is_default_loss(kind: object) -> bool:
    # a loss of one's own has no base class, and its weights must not become those of the default's
    return isinstance(kind, type) and issubclass(kind, SegmentationLoss)


def _is_other_data(before: object, after: object) -> bool:
    # what a data module of one's own calls `train` or `batch_size` need not mean the same
    kinds = [kind for kind in (before, after) if isinstance(kind, type) and issubclass(kind, LightningDataModule)]
    return len(kinds) == 2 and not issubclass(kinds[1], kinds[0])


def _is_part(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, PARTS)
