"""Locks that let one process at a time work in a folder, and child processes that end with their parent."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals, signal
from threading import current_thread, main_thread
from types import FrameType
from typing import TextIO

from lasagna.errors import LasagnaError


class BusyError(LasagnaError, OSError):
    """A file or folder in which another process is working."""


_POLL = 0.1
"""Seconds between two looks at a lock or a process."""

_NOTED = 10.0
"""Seconds of waiting from which on a user is told beforehand."""


@contextmanager
def locked_file(file: Path, busy: str) -> Iterator[TextIO]:
    """Open a file to append to it, and lock it until it is closed here and in all processes that inherit it.

    Windows has no such locks, nor have some file systems of networks; there the file is only opened.

    Args:
        file: The file; created if missing.
        busy: Message of the error if another process holds the lock.

    Yields:
        The open file.

    Raises:
        BusyError: If another process holds the lock.
    """
    with file.open("a", encoding="utf-8") as stream:
        if not _taken(stream.fileno()):
            raise BusyError(busy)
        yield stream


_held: set[Path] = set()
"""Folders that this process has locked."""


@contextmanager
def locked_folder(folder: Path, busy: str, patience: float = 0.0) -> Iterator[None]:
    """Lock a folder itself, without a file in it, until the block ends here and in all processes that inherit it.

    A process that holds the lock may take it again. Windows has no such locks, nor have some file systems of networks;
    there nothing is locked.

    Args:
        folder: The folder; it must exist.
        busy: Message of the error if another process holds the lock; said once before waiting, too.
        patience: Seconds to wait for the other process.

    Raises:
        BusyError: If another process holds the lock.
    """
    place = folder.resolve()
    if sys.platform == "win32" or place in _held:
        yield
        return
    descriptor = os.open(place, os.O_RDONLY)
    try:
        _wait_for(descriptor, busy, patience)
        _held.add(place)
        yield
    finally:
        _held.discard(place)
        os.close(descriptor)


def _wait_for(descriptor: int, busy: str, patience: float) -> None:
    end, said = time.monotonic() + patience, False
    while not _taken(descriptor):
        if time.monotonic() >= end:
            raise BusyError(busy)
        if patience > _NOTED and not said:
            print(f"waiting: {busy}", file=sys.stderr)
            said = True
        time.sleep(_POLL)


def _taken(descriptor: int) -> bool:
    """Take the lock of a file or folder unless another process holds it."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
"""Errors of file systems that have no locks, or none of folders."""

LOCK = "run.lock"

_ESCALATION = {SIGINT: ((2.0, SIGINT), (60.0, SIGTERM)), SIGTERM: ((0.0, SIGTERM),)}
"""Signal to seconds after it and the signals that a child process gets then.

A terminal has sent Ctrl-C to it already, and one that was started in the background may ignore that."""


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
    with locked_file(folder / LOCK, busy) as stream:
        yield () if sys.platform == "win32" else (stream.fileno(),)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise ``Terminated`` at SIGTERM, so that child processes can be ended first."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    if current_thread() is not main_thread():
        yield
        return
    before = signal(SIGTERM, stop)
    try:
        yield
    finally:
        signal(SIGTERM, before)


def call(
    command: Sequence[str],
    log: Path,
    inherited: tuple[int, ...] = (),
    environment: Mapping[str, str] | None = None,
    stops: Sequence[Signals] = (),
) -> int:
    """Run a command, append its output to a log, and return its exit status.

    Args:
        command: The command and its arguments.
        log: The log file.
        inherited: File descriptors that its process inherits.
        environment: Its environment; by default that of this process.
        stops: The signals that this process has got, to which another thread may add: the first one stops the command,
            the second one kills it.

    Raises:
        KeyboardInterrupt: After a signal, once the process has ended.
    """
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ {' '.join(command)}\n")
        stream.flush()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, pass_fds=inherited, env=environment
        )
        status = _status(process, stops)
    if stops:
        raise KeyboardInterrupt
    return status


def _status(process: subprocess.Popen[bytes], stops: Sequence[Signals]) -> int:
    sent, began = 0, 0.0
    while True:
        try:
            return process.wait(_POLL)
        except subprocess.TimeoutExpired:
            pass
        began = began or (time.monotonic() if stops else 0.0)
        steps = _ESCALATION[stops[0]] if stops else ()
        if len(stops) > 1:
            process.kill()
        elif sent < len(steps) and time.monotonic() - began >= steps[sent][0]:
            process.send_signal(steps[sent][1])
            sent += 1
