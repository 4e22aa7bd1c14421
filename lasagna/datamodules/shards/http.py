"""Shards behind ``http://`` and ``https://``."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import BinaryIO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from lasagna.datamodules.shards.transport import PermanentError, Transport, skip

TRANSIENT_STATUS = (408, 416, 425, 429)
"""Client errors that may pass; 416 occurs where a proxy truncated its copy. Server errors (500 and above) may pass too,
except for 501."""

NO_HEAD = (403, 405, 501)
"""Statuses of servers that serve files but refuse HEAD, e.g. for a URL that is signed for GET only."""


@dataclass(frozen=True)
class HttpTransport(Transport):
    """A folder on a web server; the URL's query, user and password are sent with each file's request.

    Args:
        address: The URL of the folder.
    """

    address: str

    def __str__(self) -> str:
        """Return the URL without user, password and query, which may hold secrets."""
        return _shown(self.address)

    def location(self, file: str) -> str:
        """Return the URL of a file without user, password and query."""
        return _shown(self._url(file))

    def open(self, file: str, offset: int, timeout: float) -> BinaryIO:
        """Open a file at a byte offset; if the server sends only complete files, discard what precedes it.

        Args:
            file: Name of the file.
            offset: First byte to read.
            timeout: Seconds to wait for data.

        Raises:
            PermanentError: If the server has no such file or denies access.
            OSError: If it fails otherwise.
        """
        response = self._request(file, timeout, {"Range": f"bytes={offset}-"} if offset else {})
        start = _first_byte(response)
        if start > offset:
            response.close()
            raise OSError(f"requested the bytes from {offset}, the server sent those from {start}")
        return skip(cast(BinaryIO, response), offset - start)

    def size(self, file: str, timeout: float) -> int | None:
        """Return the size of a file, or None if the server does not report it.

        Args:
            file: Name of the file.
            timeout: Seconds to wait for an answer.

        Raises:
            PermanentError: If the server has no such file.
            OSError: If it fails otherwise.
        """
        try:
            with self._request(file, timeout, {}, "HEAD") as response:
                length = response.headers.get("Content-Length")
        except PermanentError as error:
            if isinstance(error.__cause__, HTTPError) and error.__cause__.code in NO_HEAD:
                return None
            raise
        return None if length is None else int(length)

    def _request(self, file: str, timeout: float, headers: dict[str, str], method: str = "GET") -> HTTPResponse:
        parts = urlsplit(self._url(file))
        user, at, host = parts.netloc.rpartition("@")
        url = parts._replace(netloc=host).geturl()
        request = Request(url, headers={"User-Agent": "lasagna", **headers}, method=method)
        if at:
            # not for another server that this one may point to
            request.add_unredirected_header("Authorization", f"Basic {_encoded(user)}")
        try:
            return cast(HTTPResponse, urlopen(request, timeout=timeout))
        except HTTPError as error:
            error.close()
            transient = error.code in TRANSIENT_STATUS or (error.code >= 500 and error.code != 501)
            raise (OSError if transient else PermanentError)(str(error)) from error
        except URLError as error:
            raise OSError(str(error.reason)) from error

    def _url(self, file: str) -> str:
        parts = urlsplit(self.address)
        return parts._replace(path=f"{parts.path.rstrip('/')}/{file}", fragment="").geturl()


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _encoded(user: str) -> str:
    """Return user and password of a URL as HTTP sends them."""
    return b64encode(unquote(user).encode()).decode()


def _first_byte(response: HTTPResponse) -> int:
    """Return the offset within the file at which a response starts."""
    span = response.headers.get("Content-Range", "")
    if response.status != 206:
        return 0
    try:
        return int(span.removeprefix("bytes ").partition("-")[0])
    except ValueError as error:
        raise OSError(f"the server sent a part of the file with an invalid Content-Range {span!r}") from error
