"""Files that one process at a time has, for as long as it is open there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from lasagna.errors import LasagnaError


class BusyError(LasagnaError, OSError):
    """Work that another process is at."""


@contextmanager
def held(file: Path, busy: str) -> Iterator[TextIO]:
    """Open a file to add to it, which nobody else can hold until it is closed, here and in processes that inherit it.

    There are no such locks on Windows.

    Args:
        file: The file, which is made if it is not there.
        busy: What to say if another process has it.

    Raises:
        BusyError: If another process has it.
    """
    with file.open("a", encoding="utf-8") as stream:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as fault:
                raise BusyError(busy) from fault
        yield stream
