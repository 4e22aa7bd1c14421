"""Lists of a config that stand in place of those before them, rather than being mixed with them item by item.

jsonargparse fills what an item of a list leaves out from the item at the same place of the list before, if both lists
are equally long: a user's first source would get the weight of the default's first one. A list that was emptied before
has nothing to fill from, so that is asked for on the command line, before each argument that states such a list again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from yaml import YAMLError, safe_load  # type: ignore[import-untyped]

CONFIG = ("-c", "--config")

Key = tuple[str, ...]


@dataclass(frozen=True)
class TypedOption:
    """An option as it was typed, or a word that belongs to none.

    Args:
        words: The words of the command line that it is made of.
        name: The option with its dashes, or the word.
        value: Its value; empty where there is none.
    """

    words: tuple[str, ...]
    name: str
    value: str

    @property
    def is_option(self) -> bool:
        """Whether it is an option at all."""
        return self.name.startswith("-")

    @property
    def key(self) -> Key:
        """The parts of the config's key that it states; none for a config as a whole."""
        return () if self.name in CONFIG else tuple(self.name.removeprefix("--").split("."))


def typed_options(argv: list[str]) -> Iterator[TypedOption]:
    """Go through the options of a command line."""
    place = 0
    while place < len(argv):
        name, glued, value = argv[place].partition("=")
        length = 1 if glued or not name.startswith("-") or _is_option(argv[place + 1 :]) else 2
        yield TypedOption(tuple(argv[place : place + length]), name, argv[place + 1] if length == 2 else value)
        place += length


def _is_option(words: list[str]) -> bool:
    """Whether what follows an option is no value of it, but the next one or nothing."""
    return not words or words[0].startswith("--") or words[0] in CONFIG


_ARGUMENTS = "init_args"


class Lists:
    """Which lists of objects were stated so far, by key.

    Args:
        files: Config files that all others change.
    """

    def __init__(self, files: list[str]) -> None:
        self._lists: set[Key] = set()
        self._classes: dict[Key, str] = {}
        for file in files:
            self._take(_content(file), ())

    def emptied(self, argv: list[str]) -> list[str]:
        """Return a command line that empties each list of objects before it is stated again.

        Args:
            argv: The command line.
        """
        return [word for option in typed_options(argv) for word in (*self._before(option), *option.words)]

    def _before(self, option: TypedOption) -> list[str]:
        # what ends in a plus adds to the list
        stated = option.is_option and not option.name.endswith("+")
        return self._take(_content(option.value), option.key) if stated else []

    def _take(self, content: Any, key: Key) -> list[str]:  # noqa: ANN401
        stated = {_short(path): path for path in _lists_of_objects(content, key)}
        again = [f"--{'.'.join(path)}=[]" for short, path in stated.items() if short in self._lists]
        self._forget_other_classes(content, key)
        self._lists |= stated.keys()
        return again

    def _forget_other_classes(self, content: Any, key: Key) -> None:  # noqa: ANN401
        for path, name in _classes(content, key):
            short, bare = _short(path), name.rpartition(".")[2]
            if self._classes.get(short, bare) != bare:
                self._lists = {known for known in self._lists if known[: len(short)] != short}
            self._classes[short] = bare


def _content(value: str) -> Any:  # noqa: ANN401
    """Return what a file or a value on the command line says; nothing if it is no YAML, which the parser tells."""
    try:
        is_file = value.strip()[:1] not in ("{", "[") and Path(value).is_file()
        return safe_load(Path(value).read_text("utf-8") if is_file else value)
    except (OSError, ValueError, YAMLError):
        return None


def _lists_of_objects(content: Any, key: Key) -> Iterator[Key]:  # noqa: ANN401
    if isinstance(content, list) and key and any(isinstance(item, Mapping) for item in content):
        yield key
    elif isinstance(content, Mapping):
        for name, part in content.items():
            yield from _lists_of_objects(part, (*key, str(name)))


def _classes(content: Any, key: Key) -> Iterator[tuple[Key, str]]:  # noqa: ANN401
    if isinstance(content, Mapping):
        if isinstance(content.get("class_path"), str):
            yield key, content["class_path"]
        for name, part in content.items():
            yield from _classes(part, (*key, str(name)))


def _short(key: Key) -> Key:
    """Return a key as it may be typed: arguments follow the key of their class."""
    return tuple(part for part in key if part != _ARGUMENTS)


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
    content = _option_value(option.value) if option.is_option and inner else None
    # what ends in a plus adds to a list, which no mapping says
    if not inner or not _holds_null(content) or not option.value.strip() or option.name.endswith("+"):
        return option.words
    whole = reduce(lambda value, name: {name: value}, reversed(inner), content)
    return (f"--{'.'.join(root)}={json.dumps(whole, default=str)}",)


def _divided(key: Key) -> tuple[Key, Key]:
    own = 2 if key[:1] == (_GROUP,) else 1
    return key[:own], key[own:]


def _option_value(value: str) -> Any:  # noqa: ANN401
    """Return what a value says; its own text if it is no YAML, which the parser tells."""
    try:
        return safe_load(value)
    except YAMLError:
        return value


def _holds_null(content: Any) -> bool:  # noqa: ANN401
    if isinstance(content, Mapping):
        return any(map(_holds_null, content.values()))
    return any(map(_holds_null, content)) if isinstance(content, list) else content is None
