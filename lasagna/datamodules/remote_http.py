"""Files behind ``http://`` and ``https://``, with nothing but the standard library."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPResponse
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from lasagna.datamodules.remote import Refused, Transport, skip

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
        except Refused as fault:
            if isinstance(fault.__cause__, HTTPError) and fault.__cause__.code in NO_HEAD:
                return None
            raise
        return None if length is None else int(length)

    def _ask(self, file: str, timeout: float, headers: dict[str, str], method: str = "GET") -> HTTPResponse:
        request = Request(self._url(file), headers={"User-Agent": "lasagna", **headers}, method=method)
        try:
            return cast(HTTPResponse, urlopen(request, timeout=timeout))
        except HTTPError as fault:
            fault.close()
            passing = fault.code in PASSING_STATUS or fault.code >= 500
            raise (OSError if passing and fault.code != 501 else Refused)(str(fault)) from fault
        except URLError as fault:
            raise OSError(str(fault.reason)) from fault

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
    except ValueError as fault:
        raise OSError(f"the server sent a part of the file and called it {span!r}") from fault
