"""The process of a run: one at a time in a folder, and not left alone when the sweep is stopped."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
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
            except BlockingIOError as error:
                raise BusyError(busy) from error
        yield stream


LOCK = "run.lock"

_PATIENCE = 2.0


@contextmanager
def locked(folder: Path) -> Iterator[tuple[int, ...]]:
    """Keep other sweeps out of a run's folder.

    Yields:
        Descriptors that the run's process inherits: the lock holds until it has ended as well, however this one ends.
        There are none where the system has no such locks.

    Raises:
        BusyError: If another process is at it.
    """
    busy = f"another process is still at it in {folder}; wait until it has ended, or end it"
    with held(folder / LOCK, busy) as stream:
        yield () if sys.platform == "win32" else (stream.fileno(),)


def call(command: Sequence[str], log: Path, inherited: tuple[int, ...] = ()) -> int:
    """Run a command to its end and return its exit status; what it prints is added to a log.

    Args:
        command: The command.
        log: The log.
        inherited: Descriptors that its process inherits.

    Raises:
        KeyboardInterrupt: After Ctrl-C, when the process has ended as well.
    """
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ {' '.join(command)}\n")
        stream.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, pass_fds=inherited)
        try:
            return process.wait()
        except KeyboardInterrupt:
            _stop(process)
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let a process end by itself; a second Ctrl-C ends it at once."""
    try:
        # a terminal has told it already
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(SIGINT)
        process.wait()
