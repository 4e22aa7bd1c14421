"""How files come from elsewhere: what may be set, what a way of transport can do, and trying again."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import BinaryIO, TypeVar

from lasagna.errors import ConfigError

LONGEST_WAIT = 60.0
"""Seconds between two tries at most."""

PASSING = (OSError, HTTPException)
"""Faults that may pass when a thing is tried again, but for ``Refused``."""

BLOCK = 1 << 16

T = TypeVar("T")


class Refused(OSError):
    """A fault that will be the same the next time, such as a file that is not there."""


class RemoteWarning(UserWarning):
    """A try to read from elsewhere failed, and is made again."""


@dataclass(frozen=True)
class RemoteOptions:
    """How patiently shards are read from elsewhere; without effect on those on disk.

    Args:
        retries: How often a try that brings nothing is made again before the run stops. Each time that something comes
            the count begins anew, since reading goes on where it stopped.
        wait: Seconds before the first repetition; twice as many before each further one, 60 at most.
        timeout: Seconds after which a try counts as failed if nothing comes.
        cache: Folder that keeps whole shards, so that each is fetched once; None for none. Nothing is ever removed
            from it.

    Raises:
        ConfigError: If a number is out of its range.
    """

    retries: int = 6
    wait: float = 1.0
    timeout: float = 60.0
    cache: str | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.retries < 0 or self.wait < 0 or not self.timeout > 0:
            raise ConfigError(
                f"remote: `retries` and `wait` must be at least 0 and `timeout` positive, got {self.retries}, "
                f"{self.wait} and {self.timeout}"
            )


class Transport(ABC):
    """A way in which the files of a folder that is elsewhere can be had; its text is the folder's address."""

    @abstractmethod
    def place(self, file: str) -> str:
        """Return where a file is, for messages; without what should stay secret."""

    @abstractmethod
    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Open a file for reading from a byte on, once.

        Raises:
            Refused: If it would be in vain to try again.
            OSError: If it fails, also when reading; ``HTTPException`` as well.
        """

    @abstractmethod
    def size(self, file: str, timeout: float) -> int | None:
        """Return the size of a file in bytes, or None if it cannot be told without reading it.

        Raises:
            Refused: If it would be in vain to try again, e.g. since there is no such file.
            OSError: If it fails; ``HTTPException`` as well.
        """


def persistently(action: Callable[[], T], place: str, options: RemoteOptions) -> T:
    """Do something until it works, within the bounds of the options.

    Args:
        action: What is done.
        place: What it is done to, for messages.
        options: How often and after which waits.

    Raises:
        OSError: If it is refused or never works; says how often it was tried, and the last cause.
    """
    failed = 0
    while True:
        try:
            return action()
        except PASSING as fault:
            failed += 1
            wait_after(fault, failed, place, options)


def wait_after(fault: Exception, failed: int, place: str, options: RemoteOptions) -> None:
    """Wait after a failed try, longer each time.

    Args:
        fault: Why it failed.
        failed: How many tries in a row failed.
        place: What was tried, for messages.
        options: How often it is tried and after which waits.

    Raises:
        OSError: If it was refused or the tries are used up; says how many there were, and the last cause.
    """
    if isinstance(fault, Refused):
        raise fault
    if failed > options.retries:
        raise OSError(
            f"gave up after {failed} tries in a row that brought nothing; the last: {cause(fault)}"
        ) from fault
    wait = min(options.wait * 2.0 ** (failed - 1), LONGEST_WAIT)
    text = f"{place}: {cause(fault)}; trying again in {wait:g} s ({failed} of {options.retries})"
    warnings.warn(text, RemoteWarning, stacklevel=3)
    time.sleep(wait)


def skip(stream: BinaryIO, count: int) -> BinaryIO:
    """Read and drop some bytes of a stream, which is closed if that fails.

    Args:
        stream: The stream.
        count: How many bytes; fewer if it ends before.
    """
    try:
        while count and (block := stream.read(min(BLOCK, count))):
            count -= len(block)
    except BaseException:
        stream.close()
        raise
    return stream


def cause(fault: BaseException) -> str:
    """Return what a fault says, or its kind if it says nothing."""
    return str(fault) or type(fault).__name__
