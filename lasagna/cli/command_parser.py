"""The parser of the ``lasagna`` commands: short errors, no abbreviated options."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentParser

_UNKNOWN = re.compile(r"unrecognized arguments: (--[\w.]+)")


class CommandParser(ArgumentParser):
    """A parser whose errors are one line that names the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # otherwise an option that is cut short stands for any option that begins with it
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Print what is wrong on one line."""
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        unknown = _UNKNOWN.search(message)
        near = get_close_matches(unknown[1], self._option_string_actions, n=1) if unknown else []
        hint = f"did you mean {near[0]!r}? " if near else ""
        self.exit(2, f"error: {' '.join(lines)}; {hint}see {self.prog} --help\n")
