"""The parser of the ``lasagna`` commands: short errors, no abbreviated options, flags without a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentParser

_UNKNOWN = re.compile(r"unrecognized arguments: (--[\w.]+)")
_BOOLEAN = re.compile(r"Parser key \"(\w+)\": Expected a <class 'bool'>\. Got value: (.*)")


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
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        message = _BOOLEAN.sub(r"\1: expected true, false or nothing, got '\2'", " ".join(lines))
        unknown = _UNKNOWN.search(message)
        near = get_close_matches(unknown[1], self._option_string_actions, n=1) if unknown else []
        hint = f"did you mean {near[0]!r}? " if near else ""
        self.exit(2, f"error: {message}; {hint}see {self.prog} --help\n")
