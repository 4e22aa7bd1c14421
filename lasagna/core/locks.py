"""Locks that let one process at a time work in a folder, and child processes that end with their parent."""

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
    """A file or folder in which another process is working."""


@contextmanager
def held(file: Path, busy: str) -> Iterator[TextIO]:
    """Open a file to append to it, and lock it until it is closed here and in all processes that inherit it.

    Windows has no such locks; there the file is only opened.

    Args:
        file: The file; created if missing.
        busy: Message of the error if another process holds the lock.

    Yields:
        The open file.

    Raises:
        BusyError: If another process holds the lock.
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
    """Lock a folder against other processes that would work in it.

    Args:
        folder: The folder.

    Yields:
        Descriptors for child processes to inherit, so that the lock lasts until they end too, however this process
        ends. Empty on systems without such locks.

    Raises:
        BusyError: If another process works in the folder.
    """
    busy = f"another process is still working in {folder}; wait until it ends, or stop it"
    with held(folder / LOCK, busy) as stream:
        yield () if sys.platform == "win32" else (stream.fileno(),)


def call(command: Sequence[str], log: Path, inherited: tuple[int, ...] = ()) -> int:
    """Run a command, append its output to a log, and return its exit status.

    Args:
        command: The command and its arguments.
        log: The log file.
        inherited: File descriptors that its process inherits.

    Raises:
        KeyboardInterrupt: After Ctrl-C, once the process has ended.
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
    """Wait for a process to end by itself; a second Ctrl-C kills it."""
    try:
        # a terminal has sent it the signal already
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.send_signal(SIGINT)
        process.wait()
