"""How shards that are not on disk are read: the interface of a transport, retries, and a stream that resumes."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from io import RawIOBase
from typing import Any, BinaryIO, TypeVar

from lasagna.datamodules.shards.folder import Shard
from lasagna.errors import ConfigError

LONGEST_WAIT = 60.0
"""Upper limit of the wait between two attempts, in seconds."""

TRANSIENT = (OSError, HTTPException)
"""Errors after which an attempt is repeated, except for ``PermanentError``."""

IDLE = 10.0
"""Seconds without reading after which a connection that ended does not count as a failed attempt."""

BLOCK = 1 << 16

T = TypeVar("T")


class PermanentError(OSError):
    """An error that another attempt would only repeat, such as a missing file."""


class RemoteWarning(UserWarning):
    """An attempt to read a remote file failed and is repeated."""


@dataclass(frozen=True)
class RemoteOptions:
    """Retries, timeout and cache for remote shards; shards on disk ignore them.

    Args:
        retries: How many failed attempts in a row are repeated before the run stops. The count restarts whenever data
            arrives, because reading resumes where it stopped.
        wait: Seconds before the first repetition; doubled for each further one, up to 60.
        timeout: Seconds without data after which an attempt counts as failed.
        cache: Folder that keeps complete shards, so that each is fetched only once; None to keep none. Nothing is ever
            removed from it.

    Raises:
        ConfigError: If a number is out of range.
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
    """Access to the files of a remote folder; ``str()`` gives the folder's address."""

    @abstractmethod
    def location(self, file: str) -> str:
        """Return the address of a file for messages, without secrets."""

    @abstractmethod
    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Open a file for reading from a byte offset, in a single attempt.

        Args:
            file: Name of the file.
            offset: First byte to read.
            timeout: Seconds to wait for data.

        Raises:
            PermanentError: If another attempt would fail too.
            OSError: If it fails, now or while reading; ``HTTPException`` likewise.
        """

    @abstractmethod
    def size(self, file: str, timeout: float) -> int | None:
        """Return the size of a file in bytes, or None if it is unknown until the file has been read.

        Args:
            file: Name of the file.
            timeout: Seconds to wait for an answer.

        Raises:
            PermanentError: If another attempt would fail too, e.g. because there is no such file.
            OSError: If it fails; ``HTTPException`` likewise.
        """


def retry(action: Callable[[], T], location: str, options: RemoteOptions) -> T:
    """Repeat an action until it succeeds or the retries are used up.

    Args:
        action: The action.
        location: The file it concerns, for messages.
        options: Number of retries and the waits between them.

    Returns:
        The action's result.

    Raises:
        OSError: If it fails for good; names the number of attempts and the last error.
    """
    failed = 0
    while True:
        try:
            return action()
        except TRANSIENT as error:
            failed += 1
            wait_before_retry(error, failed, location, options)


def wait_before_retry(error: Exception, failed: int, location: str, options: RemoteOptions) -> None:
    """Wait after a failed attempt, longer after each one.

    Args:
        error: Why it failed.
        failed: Number of failed attempts in a row.
        location: The file that was read, for messages.
        options: Number of retries and the waits between them.

    Raises:
        OSError: If the error is permanent or the retries are used up; names the number of attempts and the last error.
    """
    if isinstance(error, PermanentError):
        raise error
    if failed > options.retries:
        raise OSError(f"gave up after {failed} failed attempts in a row; last error: {describe(error)}") from error
    wait = min(options.wait * 2.0 ** (failed - 1), LONGEST_WAIT)
    text = f"{location}: {describe(error)}; retrying in {wait:g} s ({failed} of {options.retries})"
    warnings.warn(text, RemoteWarning, stacklevel=3)
    time.sleep(wait)


def skip(stream: BinaryIO, count: int) -> BinaryIO:
    """Read and discard the first bytes of a stream; close it if that fails.

    Args:
        stream: The stream.
        count: Number of bytes to discard; fewer if the stream ends earlier.

    Returns:
        The stream.
    """
    try:
        while count and (block := stream.read(min(BLOCK, count))):
            count -= len(block)
    except BaseException:
        stream.close()
        raise
    return stream


def describe(error: BaseException) -> str:
    """Return the message of an error, or its type if it has none."""
    return str(error) or type(error).__name__


class RetryingStream(RawIOBase):
    """The bytes of a shard, each read once and in order, over as many connections as it takes.

    The checksum is compared before the last bytes are handed out. Servers and programs end connections that wait, as
    those of a training do; an attempt that fails after such a wait is repeated at once.

    Args:
        transport: How to reach the shard.
        shard: The shard.
        options: Number of retries, waits and timeout.

    Raises:
        OSError: While reading, if the shard cannot be read or differs from what was written.
    """

    def __init__(self, transport: Transport, shard: Shard, options: RemoteOptions) -> None:
        self._transport, self._shard, self._options = transport, shard, options
        self._location = transport.location(shard.file)
        self._stream: BinaryIO | None = None
        self._position, self._failed = 0, 0
        self._digest = sha256()
        self._read_at = time.monotonic()

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read some bytes; after an error, reconnect and resume at the same byte."""
        view = memoryview(buffer)[: self._shard.bytes - self._position]
        if not view:
            return 0
        waited = self._stream is not None and time.monotonic() - self._read_at > IDLE
        while True:
            try:
                count = self._read(view)
            except TRANSIENT as error:
                self._disconnect()
                if waited and not isinstance(error, PermanentError):
                    waited = False
                    continue
                self._failed += 1
                wait_before_retry(error, self._failed, self._location, self._options)
            else:
                self._update(view[:count])
                return count

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        super().close()

    def _read(self, view: memoryview) -> int:
        if self._stream is None:
            self._stream = self._transport.open(self._shard.file, self._position, self._options.timeout)
        count: int = self._stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise ConnectionError(f"the transfer stopped after {self._position} of {self._shard.bytes} bytes")
        return count

    def _update(self, content: memoryview) -> None:
        self._position, self._failed = self._position + len(content), 0
        self._read_at = time.monotonic()
        self._digest.update(content)
        if self._position == self._shard.bytes and self._digest.hexdigest() != self._shard.sha256:
            raise PermanentError(
                f"expected sha256 {self._shard.sha256[:12]}..., found {self._digest.hexdigest()[:12]}...; "
                "it was changed after its manifest was written"
            )

    def _disconnect(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
