"""Files that a command writes to its standard output: ``pipe:COMMAND``, and ``s3://`` through the AWS CLI.

Commands of webdataset's ``gopen`` are the same; they are started here since a command that says nothing more has to be
given up, and what it said of its fault has to be told.
"""

from __future__ import annotations

import os
import selectors
import signal
from contextlib import suppress
from dataclasses import dataclass
from io import RawIOBase
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO, Any, BinaryIO, cast

from lasagna.datamodules.remote import Refused, Transport, skip

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
        except FileNotFoundError as fault:
            self._said.close()
            raise Refused(f"there is no program {command[0]!r}; install it, or read through pipe:COMMAND") from fault
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
        except TimeoutExpired as fault:
            raise TimeoutError(f"the command did not end within {self._timeout:g} s after its last byte") from fault
        if status:
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - SAID))
            lines = self._said.read().decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise (Refused if status in NOT_THERE else OSError)(f"the command ended with status {status}: {lines[-1]}")
