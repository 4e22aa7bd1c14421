"""The parser of the ``lasagna`` commands: short errors, whole option names."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from jsonargparse import ArgumentParser

_UNKNOWN = re.compile(r"unrecognized arguments: (--[\w.]+)")


class CommandParser(ArgumentParser):
    """A parser whose errors are one line, with the way to the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # an option that is cut short would be taken for whatever begins so
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Say what is wrong in a line."""
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        self.exit(2, f"error: {' '.join(lines)}; {self._meant(message)}see {self.prog} --help\n")

    def _meant(self, message: str) -> str:
        found = _UNKNOWN.search(message)
        near = get_close_matches(found[1], self._option_string_actions, n=1) if found else []
        return f"did you mean {near[0]!r}? " if near else ""
