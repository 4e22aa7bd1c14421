"""The options of a command line, each with its value, in whichever of the two ways that was typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
