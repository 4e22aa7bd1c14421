"""Objects in JSON whose fields are checked one by one; errors name the field, what is allowed and what is there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

_WORDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
_SHOWN = 60
_CHECKSUM = re.compile(r"[0-9a-f]{64}")


class Fields:
    """An object whose fields are read with the types that they must have.

    Args:
        content: The object.
        where: What it is, for messages; empty for the outermost one.

    Raises:
        ValueError: If it is not an object; so do all methods if a field is missing or is not what is expected.
    """

    def __init__(self, content: Any, where: str = "") -> None:  # noqa: ANN401
        if not isinstance(content, Mapping):
            raise ValueError(f"{where or 'the file'}: expected an object, got {_shown(content)}")
        self.content = content
        self.where = where

    def __contains__(self, name: str) -> bool:
        """Return whether there is a field of this name."""
        return name in self.content

    def place(self, name: str | int) -> str:
        """Return the place of a field, e.g. "shards[0].file"."""
        return f"{self.where}.{name}" if self.where else str(name)

    def get(self, name: str, kind: type[T], default: T | None = None) -> T:
        """Return a field of a type.

        Args:
            name: The field.
            kind: The type.
            default: What a missing field means; None if it must be there.
        """
        if default is not None and name not in self.content:
            return default
        return _checked(self._value(name), kind, self.place(name))

    def whole(self, name: str, least: int) -> int:
        """Return a field that holds a whole number of at least ``least``."""
        return _whole(self._value(name), self.place(name), least)

    def checksum(self, name: str) -> str:
        """Return a field that holds a checksum, 64 hexadecimal digits."""
        if not _CHECKSUM.fullmatch(found := self.get(name, str)):
            raise ValueError(f"{self.place(name)}: expected 64 hexadecimal digits, got {_shown(found)}")
        return found

    def choice(self, name: str, allowed: Sequence[Any]) -> Any:  # noqa: ANN401
        """Return a field that holds one of a few values."""
        found = self._value(name)
        if not any(type(found) is type(value) and found == value for value in allowed):
            raise ValueError(f"{self.place(name)}: expected one of {', '.join(map(str, allowed))}, got {_shown(found)}")
        return found

    def texts(self, name: str, required: bool = True) -> tuple[str, ...]:
        """Return a field that lists texts which are not empty."""
        found = tuple(self._each(name, str, required))
        if not all(text.strip() for text in found):
            raise ValueError(f"{self.place(name)}: one of its texts is empty")
        return found

    def wholes(self, name: str, required: bool = True) -> tuple[int, ...]:
        """Return a field that lists whole numbers of at least 0."""
        values = self.get(name, list, None if required else [])
        return tuple(_whole(value, f"{self.place(name)}[{rank}]", 0) for rank, value in enumerate(values))

    def objects(self, name: str) -> list[Fields]:
        """Return a field that lists objects."""
        return [Fields(value, f"{self.place(name)}[{rank}]") for rank, value in enumerate(self.get(name, list))]

    def inner(self, name: str, required: bool = True) -> Fields:
        """Return a field that holds an object."""
        return Fields(self.get(name, dict, None if required else {}), self.place(name))

    def text_of(self) -> dict[str, str]:
        """Return all fields, which must hold texts."""
        return {str(name): self.get(name, str) for name in self.content}

    def count_of(self) -> dict[str, int]:
        """Return all fields, which must hold whole numbers of at least 0."""
        return {str(name): self.whole(name, 0) for name in self.content}

    def texts_of(self) -> dict[str, tuple[str, ...]]:
        """Return all fields, which must list texts."""
        return {str(name): self.texts(name) for name in self.content}

    def _each(self, name: str, kind: type[T], required: bool) -> list[T]:
        values = self.get(name, list, None if required else [])
        return [_checked(value, kind, f"{self.place(name)}[{rank}]") for rank, value in enumerate(values)]

    def _value(self, name: str) -> Any:  # noqa: ANN401
        if name not in self.content:
            raise ValueError(f"{self.place(name)}: it is missing")
        return self.content[name]


def _checked(value: Any, kind: type[T], where: str) -> T:  # noqa: ANN401
    if not isinstance(value, kind):
        raise ValueError(f"{where}: expected {_WORDS[kind]}, got {_shown(value)}")
    return value


def _whole(value: Any, where: str, least: int) -> int:  # noqa: ANN401
    if type(value) is not int or value < least:
        raise ValueError(f"{where}: expected a whole number of at least {least}, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:  # noqa: ANN401
    return repr(value)[:_SHOWN]
