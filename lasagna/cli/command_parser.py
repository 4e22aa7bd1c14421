"""The parser of the ``lasagna`` commands: short errors, no abbreviated options, flags without a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentParser

_UNKNOWN = re.compile(r"unrecognized arguments: (--[\w.]+)")
_STEP = re.compile(r'Parser key "([^"]+)":')
_GIVEN = re.compile(r"Given value: ((?!NestedArg).*)")
_NOISE = re.compile(r"Union subtypes|Subtypes:|Errors:|NoneType|Given value|Expected a path but|given class_path")
WORDS = (
    (re.compile(r"Expected a dot import path string:(?: (\S+))?"), r"no class is called '\1'"),
    (re.compile(r"Import path does not correspond to a subclass of (\w+)"), r"there is no \1 at this path"),
    (re.compile(r"Expected a <class 'tuple'>"), "expected values in brackets ('[1, 2]')"),
    (re.compile(r"Expected a <class '([\w.]+)'>"), r"expected \1"),
    (re.compile(r"\. Got value: (.*)"), r", got '\1'"),
)
"""What the parser says, and how it is said here, by all commands."""

_WORDS = (
    (re.compile(r"Expected a <class 'bool'>"), "expected true, false or nothing"),
    (re.compile(r"Expected a tuple with"), "expected"),
    (re.compile(r"Expected a typing\.Literal\[(.*?)\]"), r"expected one of \1"),
    *WORDS,
)


class CommandParser(ArgumentParser):
    """A parser whose errors are one line that names the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # otherwise an option that is cut short stands for any option that begins with it
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:  # type: ignore[override]  # noqa: ANN401
        """Parse a command line, in which a flag that is true or false may stand alone and is true then."""
        return super().parse_args(None if args is None else self._with_values(args), *more, **options)

    def flags(self) -> list[str]:
        """Return the options that are true or false."""
        actions = self._option_string_actions.items()
        return [option for option, action in actions if getattr(action, "_typehint", None) is bool]

    def _with_values(self, words: Sequence[str]) -> list[str]:
        alone, flags = [following.startswith("-") for following in (*words[1:], "-")], self.flags()
        return [f"{word}=true" if word in flags and last else word for word, last in zip(words, alone, strict=False)]

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Print what is wrong on one line."""
        message = plain(message)
        unknown = _UNKNOWN.search(message)
        near = get_close_matches(unknown[1], self._option_string_actions, n=1) if unknown else []
        hint = f"did you mean {near[0]!r}? " if near else ""
        self.exit(2, f"error: {message}; {hint}see {self.prog} --help\n")


def plain(message: str) -> str:
    """Return an error of the parser on one line: the argument, what it takes, and the value.

    Args:
        message: What the parser said; of an argument of several types, each has lines of its own.
    """
    path, given = ".".join(_STEP.findall(message)), _GIVEN.search(message)
    lines = [_STEP.sub("", line).strip(" -") for line in message.splitlines() if not _NOISE.search(line)]
    reason = ", or ".join(dict.fromkeys(filter(None, lines))) if path else " ".join(filter(None, lines))
    for pattern, words in _WORDS:
        reason = pattern.sub(words, reason)
    if given is not None and f"'{given[1]}'" not in reason and ", got " not in reason:
        reason = f"{reason}, got '{given[1]}'"
    return f"{path}: {reason}" if path else reason
