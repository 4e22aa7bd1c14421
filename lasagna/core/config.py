"""How an object was made, as plain data: ``class_path`` and ``init_args``, the form that configs have."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from lasagna.errors import CheckpointError

Config = dict[str, Any]
T = TypeVar("T")

_PLAIN = (str, int, float, bool, type(None))


class Configurable:
    """Remembers what its constructor was given, so that a checkpoint can say how to make it again."""

    given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401
        """Keep the arguments beside the object, not among the submodules that a torch module registers."""
        thing = super().__new__(cls)
        object.__setattr__(thing, "given", (args, kwargs))
        return thing


def config_of(thing: object) -> Config:
    """Describe an object by its class and what its constructor was given.

    Args:
        thing: An object of a class that derives from ``Configurable``, as the assistant and its parts do.

    Raises:
        CheckpointError: If it is not ``Configurable``, or was given something that is neither that nor plain data.
    """
    kind = type(thing)
    if not isinstance(thing, Configurable):
        raise CheckpointError(f"{kind.__name__}: a checkpoint cannot say how to make it; derive it from Configurable")
    args, kwargs = thing.given
    bound = inspect.signature(kind).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = {name: plain(value) for name, value in bound.arguments.items()}
    return {"class_path": public_path(kind), "init_args": arguments}


def public_path(kind: type) -> str:
    """Return the shortest path by which a class can be imported: that of the package that exports it.

    Checkpoints name classes by this path, so that files can move within a package.
    """
    steps = kind.__module__.split(".")
    for stop in range(1, len(steps)):
        package = ".".join(steps[:stop])
        if getattr(sys.modules.get(package), kind.__qualname__, None) is kind:
            return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def build(recipe: Config, kind: type[T]) -> T:
    """Make an object from its description, with the checks that a config gets.

    Args:
        recipe: What ``config_of`` returned, or the object's part of a config.
        kind: Class, or base class, of the object.

    Raises:
        CheckpointError: If the class cannot be imported or does not take these arguments.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, "thing", fail_untyped=False)
    try:
        made: T = parser.instantiate(parser.parse_object({"thing": recipe})).thing
    except (ArgumentError, TypeError, ValueError) as error:
        name = recipe.get("class_path")
        raise CheckpointError(
            f"{kind.__name__}: {name!r} cannot be made from its description ({error}); "
            "if the class is your own, run from the folder that holds its file"
        ) from error
    return made


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return plain data (what YAML can hold) for a constructor's argument."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return config_of(value)
