"""Files that a command writes to its standard output: ``pipe:COMMAND``, and ``s3://`` through the AWS CLI.

Commands of webdataset's ``gopen`` are the same; they are started here since a command that says nothing more has to be
given up, and what it said of its fault has to be told.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException, HTTPResponse
from io import RawIOBase
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, TypeVar, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from lasagna.datamodules.shards.folder import Shard
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
        except PASSING as error:
            failed += 1
            wait_after(error, failed, place, options)


def wait_after(error: Exception, failed: int, place: str, options: RemoteOptions) -> None:
    """Wait after a failed try, longer each time.

    Args:
        error: Why it failed.
        failed: How many tries in a row failed.
        place: What was tried, for messages.
        options: How often it is tried and after which waits.

    Raises:
        OSError: If it was refused or the tries are used up; says how many there were, and the last cause.
    """
    if isinstance(error, Refused):
        raise error
    if failed > options.retries:
        raise OSError(
            f"gave up after {failed} tries in a row that brought nothing; the last: {cause(error)}"
        ) from error
    wait = min(options.wait * 2.0 ** (failed - 1), LONGEST_WAIT)
    text = f"{place}: {cause(error)}; trying again in {wait:g} s ({failed} of {options.retries})"
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


def cause(error: BaseException) -> str:
    """Return what a fault says, or its kind if it says nothing."""
    return str(error) or type(error).__name__


FILE = "{file}"
"""Stands in a command for the name of the file."""

NOT_THERE = (126, 127)
"""Exit statuses with which a shell says that there is no such program."""

SAID = 2000
"""Bytes at the end of what a command said that are looked at for its last line."""


@dataclass(frozen=True)
class PipeTransport(Transport):
    """A command that writes a file, run by the shell.

    Args:
        command: The command; ``{file}`` stands for the name of the file, which else follows it after a slash.
    """

    command: str

    def __str__(self) -> str:
        """Return the address as it is in a config."""
        return f"pipe:{self.command}"

    def place(self, file: str) -> str:
        """Return the command for a file."""
        return f"pipe:{self._line(file)}"

    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Run the command, and drop what comes before a byte.

        Raises:
            OSError: If it fails.
        """
        return skip(cast(BinaryIO, CommandStream(self._line(file), timeout)), offset)

    def size(self, file: str, timeout: float) -> None:
        """Return nothing: only reading tells."""

    def _line(self, file: str) -> str:
        if FILE in self.command:
            return self.command.replace(FILE, file)
        return f"{self.command.rstrip('/')}/{file}"


@dataclass(frozen=True)
class S3Transport(Transport):
    """A folder of a bucket, read by ``aws s3 cp``, which finds credentials, region and endpoint in its usual places.

    Args:
        address: The address of the folder, ``s3://BUCKET/PATH``.
    """

    address: str

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    def place(self, file: str) -> str:
        """Return the address of a file."""
        return f"{self.address.rstrip('/')}/{file}"

    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Run the command, and drop what comes before a byte.

        Raises:
            Refused: If there is no program ``aws``.
            OSError: If it fails otherwise.
        """
        stream = CommandStream(["aws", "s3", "cp", self.place(file), "-"], timeout)
        return skip(cast(BinaryIO, stream), offset)

    def size(self, file: str, timeout: float) -> None:
        """Return nothing: only reading tells."""


class CommandStream(RawIOBase):
    """What a command writes to its standard output.

    Args:
        command: A line for the shell, or a program with its arguments.
        timeout: Seconds without a byte after which the command is given up.

    Raises:
        Refused: If there is no such program.
        OSError: When reading, if the command fails or nothing comes in time; with the last line that it said.
    """

    def __init__(self, command: str | list[str], timeout: float) -> None:
        self._timeout = timeout
        self._said = TemporaryFile()  # noqa: SIM115 - lives as long as the command
        pipes: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": self._said, "bufsize": 0}
        try:
            # a session of its own, so that all programs of a line end together
            self._process = Popen(command, shell=isinstance(command, str), start_new_session=True, **pipes)
        except FileNotFoundError as error:
            self._said.close()
            raise Refused(f"there is no program {command[0]!r}; install it, or read through pipe:COMMAND") from error
        self._out = cast(IO[bytes], self._process.stdout)

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read what there is, waiting for the first byte."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if not selector.select(self._timeout):
                raise TimeoutError(f"nothing came for {self._timeout:g} s")
        count = int(self._out.readinto(buffer))  # type: ignore[attr-defined]
        if not count:
            self._check_status()
        return count

    def close(self) -> None:
        """End the command, whatever it is doing."""
        if not self.closed:
            if self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._out.close()
            self._process.wait()
            self._said.close()
        super().close()

    def _check_status(self) -> None:
        try:
            status = self._process.wait(self._timeout)
        except TimeoutExpired as error:
            raise TimeoutError(f"the command did not end within {self._timeout:g} s after its last byte") from error
        if status:
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - SAID))
            lines = self._said.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise (Refused if status in NOT_THERE else OSError)(f"the command ended with status {status}: {lines[-1]}")


PASSING_STATUS = (408, 416, 425, 429)
"""Answers to a fault of the client that may be another one later, 416 where a copy on the way was cut short; those from
500 on are the server's."""

NO_HEAD = (403, 405, 501)
"""Answers of servers that give files and no sizes, e.g. where an address was signed for reading alone."""


@dataclass(frozen=True)
class HttpTransport(Transport):
    """A folder behind an address; what stands behind its ``?`` is sent with each file's.

    Args:
        address: The address of the folder.
    """

    address: str

    def __str__(self) -> str:
        """Return the address without its query, which may hold a key."""
        return urlsplit(self.address)._replace(query="", fragment="").geturl()

    def place(self, file: str) -> str:
        """Return the address of a file without the query."""
        return urlsplit(self._url(file))._replace(query="").geturl()

    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Open a file from a byte on; where the server only gives whole files, what comes before is read and dropped.

        Raises:
            Refused: If the server says that there is no such file, or that it may not be had.
            OSError: If it fails otherwise.
        """
        response = self._ask(file, timeout, {"Range": f"bytes={offset}-"} if offset else {})
        start = _start(response)
        if start > offset:
            response.close()
            raise OSError(f"asked for the bytes from {offset} on, the server sent those from {start} on")
        return skip(cast(BinaryIO, response), offset - start)

    def size(self, file: str, timeout: float) -> int | None:
        """Return the size of a file, or None if the server does not say.

        Raises:
            Refused: If the server says that there is no such file.
            OSError: If it fails otherwise.
        """
        try:
            with self._ask(file, timeout, {}, "HEAD") as response:
                length = response.headers.get("Content-Length")
        except Refused as error:
            if isinstance(error.__cause__, HTTPError) and error.__cause__.code in NO_HEAD:
                return None
            raise
        return None if length is None else int(length)

    def _ask(self, file: str, timeout: float, headers: dict[str, str], method: str = "GET") -> HTTPResponse:
        request = Request(self._url(file), headers={"User-Agent": "lasagna", **headers}, method=method)
        try:
            return cast(HTTPResponse, urlopen(request, timeout=timeout))
        except HTTPError as error:
            error.close()
            passing = error.code in PASSING_STATUS or error.code >= 500
            raise (OSError if passing and error.code != 501 else Refused)(str(error)) from error
        except URLError as error:
            raise OSError(str(error.reason)) from error

    def _url(self, file: str) -> str:
        parts = urlsplit(self.address)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{file}", fragment="").geturl()


def _start(response: HTTPResponse) -> int:
    """Return which byte of the file a response begins with."""
    span = response.headers.get("Content-Range", "")
    if response.status != 206:
        return 0
    try:
        return int(span.removeprefix("bytes ").partition("-")[0])
    except ValueError as error:
        raise OSError(f"the server sent a part of the file and called it {span!r}") from error


class RetryingStream(RawIOBase):
    """The bytes of a shard in order, each once; compared with the shard's checksum before the last ones are given.

    Args:
        transport: How the shard can be had.
        shard: Which shard.
        options: How patiently.

    Raises:
        OSError: When reading, if the shard cannot be had or is not what was written.
    """

    def __init__(self, transport: Transport, shard: Shard, options: RemoteOptions) -> None:
        self._transport, self._shard, self._options = transport, shard, options
        self._place = transport.place(shard.file)
        self._stream: BinaryIO | None = None
        self._position, self._failed = 0, 0
        self._digest = sha256()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read some bytes, opening the shard again where it broke off."""
        view = memoryview(buffer)[: self._shard.bytes - self._position]
        if not view:
            return 0
        while True:
            try:
                count = self._read(view)
            except PASSING as error:
                self._drop()
                self._failed += 1
                wait_after(error, self._failed, self._place, self._options)
            else:
                self._take(view[:count])
                return count

    def close(self) -> None:
        """End the connection."""
        self._drop()
        super().close()

    def _read(self, view: memoryview) -> int:
        if self._stream is None:
            self._stream = self._transport.open(self._shard.file, self._position, self._options.timeout)
        count: int = self._stream.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise ConnectionError(f"it broke off after {self._position} of {self._shard.bytes} bytes")
        return count

    def _take(self, content: memoryview) -> None:
        self._position, self._failed = self._position + len(content), 0
        self._digest.update(content)
        if self._position == self._shard.bytes and self._digest.hexdigest() != self._shard.sha256:
            raise Refused(
                f"expected sha256 {self._shard.sha256[:12]}..., found {self._digest.hexdigest()[:12]}...; "
                "it was changed after its manifest was written"
            )

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
