"""The config of an object as plain data, ``class_path`` and ``init_args``, and objects built from configs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from lasagna.core.foreign import Foreign, absent_class
from lasagna.errors import CheckpointError, ConfigError

Config = dict[str, Any]
T = TypeVar("T")

_PLAIN = (str, int, float, bool, type(None))

_NOISE = (
    "Does not validate", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>", "Given value", 'Parser key "built"',
    "Problem with given class_path", "Subclass types expect", "a class path (str)", "a dict with",
)  # fmt: skip
"""How the lines of the parser's message begin that tell nothing about what is wrong."""

_LONGEST = 300
"""Most characters of the parser's message that are shown; it may hold the whole config."""


class Configurable:
    """Base of classes that remember the arguments of their constructor, so that checkpoints can store their config."""

    given: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401
        """Store the arguments as a plain attribute, which PyTorch modules do not register as submodules."""
        made = super().__new__(cls)
        object.__setattr__(made, "given", (args, kwargs))
        return made


def config_of(instance: object) -> Config:
    """Return the config of an object: its class and the arguments of its constructor.

    Args:
        instance: An object of a class that derives from ``Configurable``, as the assistant and its parts do.

    Raises:
        CheckpointError: If the object, or an argument that is not plain data, is not ``Configurable``.
    """
    kind = type(instance)
    if not isinstance(instance, Configurable):
        raise CheckpointError(f"{kind.__name__}: a checkpoint cannot store its config; derive it from Configurable")
    if kind.__init__ is object.__init__:
        return {"class_path": public_path(kind), "init_args": {}}
    args, kwargs = instance.given
    bound = inspect.signature(kind).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = {name: plain(value) for name, value in bound.arguments.items()}
    return {"class_path": public_path(kind), "init_args": arguments}


def public_path(kind: type) -> str:
    """Return the shortest path from which a class can be imported, that of the package that exports it.

    Checkpoints name classes by this path, so that files can move within a package.

    Args:
        kind: The class.
    """
    steps = kind.__module__.split(".")
    for stop in range(1, len(steps)):
        package = ".".join(steps[:stop])
        if getattr(sys.modules.get(package), kind.__qualname__, None) is kind:
            return f"{package}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def build(
    config: Config, kind: type[T], kinds: tuple[type, ...] = (Configurable,), foreign: Foreign | None = None
) -> T:
    """Build an object from its config, with the same checks as for a user's config.

    Args:
        config: The result of ``config_of``, or the object's part of a user's config.
        kind: Class of the object, or a base class.
        kinds: Base classes of what a config from elsewhere may name.
        foreign: Where the config comes from, if the user has not named it.

    Raises:
        CheckpointError: If the class cannot be imported or does not take these arguments.
        ConfigError: If the config comes from elsewhere and names what it must not.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    if not isinstance(config, Mapping) or not isinstance(config.get("class_path"), str):
        raise CheckpointError(
            f"{kind.__name__}: a config with class_path and init_args is needed to build it, got a "
            f"{type(config).__name__}: {str(config)[:80]!r}"
        )
    absent = absent_class(config)
    if absent is not None:
        raise CheckpointError(
            f"{kind.__name__}: {absent!r} is no class that can be imported here; if it is your own, run from the "
            "folder that contains its file"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(kind, "built", fail_untyped=False)
    try:
        parsed = parser.parse_object({"built": config})
        # a config may name files, whose content is known only now
        settings = parsed.clone().as_dict()["built"]
        if foreign is not None:
            foreign.check(settings, kinds)
        built: T = parser.instantiate(parsed).built
    except ConfigError:
        raise
    except (ArgumentError, TypeError, ValueError) as error:
        name = config.get("class_path")
        raise CheckpointError(
            f"{kind.__name__}: {name!r} cannot be built from its config ({_reason(error, config)}); "
            "if the class is your own, run from the folder that contains its file"
        ) from error
    return built


def _reason(error: Exception, config: Any) -> str:  # noqa: ANN401
    """Return in one line why an object cannot be built from its config."""
    lines = [line.strip(" -") for line in str(error).splitlines()]
    told = " ".join(line for line in lines if line and not line.startswith(_NOISE)) or " ".join(str(error).split())
    wrong = next(_wrong_arguments(config), told)
    return wrong if len(wrong) <= _LONGEST else f"{wrong[:_LONGEST]} ..."


def _wrong_arguments(config: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield what is wrong with the arguments of each class whose arguments have no names."""
    if not isinstance(config, Mapping):
        return
    arguments = config.get("init_args") or {}
    if "class_path" in config and not isinstance(arguments, Mapping):
        yield f"init_args of {config['class_path']}: expected arguments by name, got a {type(arguments).__name__}"
    for part in config.values():
        yield from _wrong_arguments(part)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Return an argument of a constructor as plain data, as YAML can hold it.

    Args:
        value: The argument.

    Raises:
        CheckpointError: If it is neither plain data nor ``Configurable``.
    """
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
