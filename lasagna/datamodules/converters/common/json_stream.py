"""JSON files of any size, of which one entry at a time is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder
from typing import Any, TextIO

CHUNK = 1 << 20
"""Number of characters that are read at a time."""

_NEAR = 16
"""Number of characters before the end of what was read within which a mistake may be a value that is cut off."""

_SPACE = " \t\n\r"
_CUT = ("Unterminated string", "Invalid \\")


class JsonStream:
    """The members of the outermost object of a file, in order; whoever takes a name must read its value.

    Args:
        file: The file, open as text.

    Raises:
        ValueError: While reading, if it is not JSON.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._place = 0
        self._decode = JSONDecoder().raw_decode

    def next(self) -> str:
        """Return the next character that is not a blank, without taking it; empty at the end."""
        while True:
            while self._place < len(self._text):
                if (found := self._text[self._place]) not in _SPACE:
                    return found
                self._place += 1
            if not self._read(CHUNK):
                return ""

    def members(self) -> Iterator[str]:
        """Yield the names of the members; before the next one, read the value by ``value`` or ``elements``."""
        for _ in self._parts("{", "}"):
            name = self.value()
            if not isinstance(name, str):
                raise self._mistake("a name in quotes")
            self._take(":")
            yield name
        if self.next():
            raise self._mistake("the end of the file")

    def elements(self) -> Iterator[tuple[Any, str]]:
        """Yield the elements of the next value, which is a list, each with its text."""
        for _ in self._parts("[", "]"):
            yield self._value()

    def value(self) -> Any:  # noqa: ANN401
        """Return the next value."""
        return self._value()[0]

    def _parts(self, begin: str, end: str) -> Iterator[None]:
        """Step to each part between two brackets."""
        self._take(begin)
        if self.next() != end:
            yield
            while self.next() == ",":
                self._place += 1
                yield
        self._take(end)

    def _value(self) -> tuple[Any, str]:
        self.next()
        size = CHUNK
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except RecursionError as error:
                raise ValueError("it is nested too deeply") from error
            except JSONDecodeError as error:
                is_cut = error.pos >= len(self._text) - _NEAR or error.msg.startswith(_CUT)
                if is_cut and self._read(size):
                    size *= 2  # so that a long value is not decoded often
                    continue
                raise
            # a number near the end may go on, with "e+" and digits
            if end < len(self._text) - len("e+") or not self._read(size):
                text = self._text[self._place : end]
                self._place = end
                return value, text

    def _take(self, sign: str) -> None:
        if self.next() != sign:
            raise self._mistake(repr(sign))
        self._place += 1

    def _mistake(self, wanted: str) -> ValueError:
        found = self._text[self._place : self._place + 20]
        return ValueError(f"expected {wanted}, got {found!r}" if found else f"expected {wanted}, and the file ends")

    def _read(self, size: int) -> bool:
        """Read on; return whether there was anything."""
        if more := self._file.read(size):
            self._text, self._place = self._text[self._place :] + more, 0
        return bool(more)
