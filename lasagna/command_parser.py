"""The parser of the ``lasagna`` commands: short errors, whole option names."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser


class CommandParser(ArgumentParser):
    """A parser whose errors are one line, with the way to the help."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # an option that is cut short would be taken for whatever begins so
        super().__init__(*args, **{"allow_abbrev": False} | kwargs)

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Say what is wrong in a line."""
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        self.exit(2, f"error: {' '.join(lines)}; see {self.prog} --help\n")
