"""What a config may name: classes of known kinds; and in one from elsewhere, neither commands nor other folders."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pydoc import ErrorDuringImport, locate
from typing import Any, get_args, get_origin

from lasagna.errors import ConfigError, without_secrets

COMMAND = "pipe:"
"""Beginning of an address of shards that a shell command reads."""

_WRITTEN = ("cache", "feature_cache")
"""Arguments that name folders to write to, outside of the trainer."""

_NAME = re.compile(r"[\w.]+")
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def check_classes(config: Any, kinds: tuple[type, ...], typed: Iterable[str] = ()) -> None:  # noqa: ANN401
    """Check that a config makes only objects of known kinds, wherever the parser would make an object of any kind.

    Args:
        config: Plain data.
        kinds: The base classes, besides those that the arguments of their subclasses state.
        typed: Values that the user has typed; classes that they name are not checked.

    Raises:
        ConfigError: If another class, or a function, is named.
    """
    named = _words(typed)
    for path, _, stated in _described(config, ()):
        kind = locate(path)
        if not (isinstance(kind, type) and issubclass(kind, kinds + stated)) and path.rpartition(".")[2] not in named:
            raise ConfigError(
                f"config: {path!r} is no class of a part, task, strategy, transform or anything else that a config can "
                "name here; remove it"
            )


def absent_class(config: Any) -> str | None:  # noqa: ANN401
    """Return the first path of a class in a config that leads nowhere here, or None.

    Args:
        config: Plain data; what it names without a dot is not looked for.
    """
    try:
        absent = (path for path, _, _ in _described(config, ()) if "." in path and locate(path) is None)
        return next(absent, None)
    except ErrorDuringImport:  # whoever imports it says what is wrong in its file
        return None


def _words(typed: Iterable[str]) -> set[str]:
    """Return the names in values, and the class in each dotted one."""
    return {name for value in typed for word in _NAME.findall(value) for name in (word, word.rpartition(".")[2])}


def _described(config: Any, stated: tuple[type, ...]) -> Iterator[tuple[str, Mapping[str, Any], tuple[type, ...]]]:  # noqa: ANN401
    """Yield the path and the arguments of each class in a config, and the classes that its place is stated to take."""
    if isinstance(config, Mapping) and isinstance(config.get("class_path"), str):
        arguments = config.get("init_args")
        arguments = arguments if isinstance(arguments, Mapping) else {}
        yield config["class_path"], arguments, stated
        hints = {name: parameter.annotation for name, parameter in parameters_of(locate(config["class_path"])).items()}
        for name, part in arguments.items():
            yield from _described(part, tuple(_classes(hints.get(name))))
    else:
        for part in _parts(config):
            yield from _described(part, stated)


def _classes(hint: Any) -> Iterator[type]:  # noqa: ANN401
    """Yield the classes in a type hint; not what takes an object of any kind, or a function."""
    if get_origin(hint) in (None, Callable):
        if isinstance(hint, type) and hint is not object:
            yield hint
    else:
        for member in get_args(hint):
            yield from _classes(member)


def parameters_of(kind: object) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a class, their types resolved; none for anything else, or if they cannot be known.

    Args:
        kind: What may be a class.
    """
    if not isinstance(kind, type):
        return {}
    try:
        return inspect.signature(kind, eval_str=True).parameters
    except (NameError, TypeError, ValueError):  # a type that is imported only for type checkers, or no signature
        return {}


def _parts(config: Any) -> Iterable[Any]:  # noqa: ANN401
    if isinstance(config, Mapping):
        return config.values()
    return config if isinstance(config, list | tuple) else ()


def texts(config: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield all texts among the values of a config."""
    if isinstance(config, str):
        yield config
    for part in _parts(config):
        yield from texts(part)


@dataclass(frozen=True)
class Foreign:
    """A config that a file brings along, which the user has perhaps not written.

    Args:
        origin: The file, for messages.
        remedy: How the user can give a config of their own instead, for messages.
        folders: Folders that it may write to, besides the working directory.
        typed: Values that the user has typed, whose commands, classes and folders are the user's own.
    """

    origin: str
    remedy: str
    folders: tuple[Path, ...] = ()
    typed: tuple[str, ...] = ()

    def check_stored(self, config: Any) -> None:  # noqa: ANN401
        """Check a config as it is stored: a training has replaced references by their values.

        Raises:
            ConfigError: If it holds a reference, or what ``check`` refuses of data.
        """
        if reference := next((text for text in texts(config) if "${" in text), None):
            raise self._refused(f"holds the reference {reference!r}, which no training stores")
        self.check_commands(config)

    def check(self, config: Mapping[str, Any], kinds: tuple[type, ...]) -> None:
        """Check a config as it was parsed, with all references resolved and all files read.

        Args:
            config: Plain data with the sections of a run, or one of them.
            kinds: Base classes of what it may make.

        Raises:
            ConfigError: If it names a command, a class or function of another kind, or a folder elsewhere to write to.
        """
        self.check_commands(config)
        try:
            check_classes(config, kinds, self.typed)
        except ConfigError as error:
            raise self._refused(str(error).removeprefix("config: ")) from error
        for path, arguments, _ in _described(config, ()):
            if name := _called(locate(path), arguments):
                raise self._refused(f"gives {path} a function to call as {name!r}")
        for path, _, _ in (found for part in _values(config, ("writers",)) for found in _described(part, ())):
            if path.rpartition(".")[2] not in _words(self.typed):
                raise self._refused(f"would write shards by {path}")
        for folder in [*texts(config.get("trainer")), *texts(list(_values(config, _WRITTEN)))]:
            if self._is_elsewhere(folder):
                raise self._refused(
                    f"names {folder!r} to write to, which is outside of the working directory; name a folder of yours "
                    "(--trainer.default_root_dir FOLDER)"
                )

    def check_commands(self, config: Any) -> None:  # noqa: ANN401
        """Refuse addresses of shards that would run a command.

        Raises:
            ConfigError: If there is one.
        """
        commands = (text for text in texts(config) if text.startswith(COMMAND))
        if command := next((text for text in commands if not any(text in value for value in self.typed)), None):
            shown = without_secrets(command)
            raise self._refused(
                f"names shards that are read by the command {shown!r}, which is not run unless you name it yourself"
            )

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError(f"config: {self.origin} {reason}; {self.remedy}")

    def _is_elsewhere(self, text: str) -> bool:
        place = Path(text).expanduser().resolve()
        near = (Path.cwd(), *self.folders, *(Path(value).expanduser() for value in self.typed))
        return bool(_ELSEWHERE.match(text)) or not any(place.is_relative_to(folder.resolve()) for folder in near)


def _values(config: Any, names: Iterable[str]) -> Iterator[Any]:  # noqa: ANN401
    """Yield the values of arguments of some names."""
    if isinstance(config, Mapping):
        yield from (config[name] for name in names if name in config)
    for part in _parts(config):
        yield from _values(part, names)


def _called(kind: Any, arguments: Mapping[str, Any]) -> str | None:  # noqa: ANN401
    """Return the name of an argument that is a function, as the parser imports it."""
    parameters = parameters_of(kind)
    given = (name for name, value in arguments.items() if value is not None and name in parameters)
    return next((name for name in given if "Callable" in str(parameters[name].annotation)), None)
