"""Shards that a command writes to its standard output: ``pipe:COMMAND``, and ``s3://`` through the AWS CLI.

The commands are those of webdataset's ``gopen``. They are started here because a silent command must time out, and
because its error output belongs in the message.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, cast

from lasagna.datamodules.shards.transport import PermanentError, Transport, skip
from lasagna.errors import without_secrets

FILE = "{file}"
"""Placeholder for the name of the file in a command."""

NOT_FOUND = (126, 127)
"""Exit statuses with which a shell reports that a program is missing or cannot be run."""

MISSING = re.compile(
    r"no such (file|key|bucket|object)|nosuch(key|bucket)|does not exist|matched no objects|no urls? matched"
    r"|(object|key|file|blob|bucket|directory|container) (was )?not found"
    r"|(error:?|http\S*|status:?|\() ?40[134]\b|access ?denied",
    re.IGNORECASE,
)
"""Last lines of programs that found no such file or may not read it: cat, curl, wget, aws, gsutil, gcloud, rclone."""

ERROR_TAIL = 2000
"""How many bytes at the end of a command's error output are searched for its last line."""


@dataclass(frozen=True)
class PipeTransport(Transport):
    """A shell command that writes a file to its standard output.

    Args:
        command: The command; ``{file}`` stands for the name of the file, which is appended after a slash otherwise.
    """

    command: str

    def __str__(self) -> str:
        """Return the address without the passwords of URLs in it."""
        return without_secrets(f"pipe:{self.command}")

    def location(self, file: str) -> str:
        """Return the command for a file, without the passwords of URLs in it."""
        return without_secrets(f"pipe:{self._line(file)}")

    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Run the command and discard what precedes the offset.

        Args:
            file: Name of the file.
            offset: First byte to read.
            timeout: Seconds to wait for data.

        Raises:
            OSError: If it fails.
        """
        return skip(cast(BinaryIO, CommandStream(self._line(file), timeout)), offset)

    def size(self, file: str, timeout: float) -> None:
        """Return None: the size is unknown until the file has been read."""

    def _line(self, file: str) -> str:
        if FILE in self.command:
            return self.command.replace(FILE, file)
        return f"{self.command.rstrip('/')}/{file}"


@dataclass(frozen=True)
class S3Transport(Transport):
    """A folder of a bucket, read by ``aws s3 cp``, which finds credentials, region and endpoint by itself.

    Args:
        address: The address of the folder, ``s3://BUCKET/PATH``.
    """

    address: str

    def __str__(self) -> str:
        """Return the address."""
        return self.address

    def location(self, file: str) -> str:
        """Return the address of a file."""
        return f"{self.address.rstrip('/')}/{file}"

    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Run the command and discard what precedes the offset.

        Args:
            file: Name of the file.
            offset: First byte to read.
            timeout: Seconds to wait for data.

        Raises:
            PermanentError: If the program ``aws`` is not installed.
            OSError: If it fails otherwise.
        """
        stream = CommandStream(["aws", "s3", "cp", self.location(file), "-"], timeout)
        return skip(cast(BinaryIO, stream), offset)

    def size(self, file: str, timeout: float) -> None:
        """Return None: the size is unknown until the file has been read."""


class CommandStream(RawIOBase):
    """The standard output of a command.

    Args:
        command: A line for the shell, or a program with its arguments.
        timeout: Seconds without data after which the command is killed.

    Raises:
        PermanentError: If there is no such program; while reading, if the command says that there is no such file.
        OSError: While reading, if the command fails or sends nothing in time; quotes its last line of error output.
    """

    def __init__(self, command: str | list[str], timeout: float) -> None:
        self._timeout, self._received = timeout, 0
        self._errors = TemporaryFile()  # noqa: SIM115 - lives as long as the command
        pipes: dict[str, Any] = {"stdin": DEVNULL, "stdout": PIPE, "stderr": self._errors, "bufsize": 0}
        try:
            # a session of its own, so that all programs of a line can be killed together
            self._process = Popen(command, shell=isinstance(command, str), start_new_session=True, **pipes)
        except FileNotFoundError as error:
            self._errors.close()
            raise PermanentError(
                f"there is no program {command[0]!r}; install it, or read through pipe:COMMAND"
            ) from error
        self._out = cast(IO[bytes], self._process.stdout)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        """Read the bytes that are available; wait for the first one."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if not selector.select(self._timeout):
                raise TimeoutError(f"no data for {self._timeout:g} s")
        count = int(self._out.readinto(buffer))  # type: ignore[attr-defined]
        self._received += count
        if not count:
            self._check_status()
        return count

    def close(self) -> None:
        """Kill the command if it still runs."""
        if not self.closed:
            if self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            self._out.close()
            self._process.wait()
            self._errors.close()
        super().close()

    def _check_status(self) -> None:
        try:
            status = self._process.wait(self._timeout)
        except TimeoutExpired as error:
            raise TimeoutError(f"the command did not exit within {self._timeout:g} s after its last byte") from error
        line = self._last_line()
        missing = MISSING.search(line) is not None
        if status:
            kind = PermanentError if missing or status in NOT_FOUND else OSError
            raise kind(without_secrets(f"the command exited with status {status}: {line or 'no error output'}"))
        if missing and not self._received:  # a pipeline exits with the status of its last program
            raise PermanentError(without_secrets(f"the command sent nothing: {line}"))

    def _last_line(self) -> str:
        """Return the last line of the command's error output."""
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - ERROR_TAIL))
        return (self._errors.read().decode("utf-8", "replace").strip().splitlines() or [""])[-1]
