"""Images that clients name by their addresses; read only if the server was started with ``--allow_urls``."""

from __future__ import annotations

import asyncio
import re
import ssl
from urllib.parse import urljoin, urlsplit

from httpcore2 import (
    AsyncConnectionPool,
    NetworkError,
    ProtocolError,
    Response,
    TimeoutException,
    UnsupportedProtocol,
    default_ssl_context,
)

from lasagna.serving.limits import Limits, RequestError
from lasagna.serving.public_addresses import PublicBackend

LONGEST = 2048
"""Most characters of an address."""

_REDIRECTS = 3
_USUAL_PORTS = (80, 443)
_FIRST_PORT = 1024
"""Ports below this one are those of other services, except for the usual ones."""

# messages of hosts that cannot be reached do not differ, since they would tell which hosts of this network there are
_UNREAD = "image: this address cannot be read; only public addresses of image files, with http or https, are"
_FAILURES = (NetworkError, ProtocolError, TimeoutException, UnsupportedProtocol, OSError, ssl.SSLError, ValueError)
_HEADERS = [(b"User-Agent", b"lasagna"), (b"Accept", b"image/*"), (b"Accept-Encoding", b"identity")]


def is_address(text: str) -> bool:
    """Return whether a text is an address rather than a file in base64, which has no colon."""
    return text[:8].lower().startswith(("http://", "https://"))


class AddressReader:
    """Reads files from public addresses.

    Neither proxies nor credentials nor cookies are used. Redirects are followed a few times, each checked as the first
    address is.

    Args:
        limits: How many bytes are read, and how long that may take.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._ssl = default_ssl_context()

    async def read(self, address: str, most: int) -> bytes:
        """Return the file at an address.

        Args:
            address: The address.
            most: Most bytes to read.

        Raises:
            RequestError: If it is not public, or does not send a file within the limits.
        """
        try:
            async with asyncio.timeout(self.limits.seconds):
                for _ in range(_REDIRECTS + 1):
                    check_address(address)
                    content, further = await self._get(address, most)
                    if further is None:
                        return content
                    address = urljoin(address, further)
        except TimeoutError as error:
            text = f"image: its address did not send it within {self.limits.seconds:g} s; send the file itself"
            raise RequestError(408, text) from error
        except _FAILURES as error:
            raise RequestError(422, _UNREAD) from error
        raise RequestError(422, f"image: its address leads on more than {_REDIRECTS} times; give the last one")

    async def _get(self, address: str, most: int) -> tuple[bytes, str | None]:
        """Return what an address sends, or where it leads to."""
        url = address.partition("#")[0]
        backend = PublicBackend()
        async with (
            AsyncConnectionPool(ssl_context=self._ssl, max_connections=1, network_backend=backend) as pool,
            pool.stream("GET", url, headers=_HEADERS) as response,
        ):
            if response.status in (301, 302, 303, 307, 308):
                return b"", _header(response, b"location")
            if response.status != 200:
                raise RequestError(422, f"image: its address answers with status {response.status} and no file")
            return await _content(response, most), None


def check_address(address: str) -> None:
    """Check the form of an address before anything is looked up.

    Raises:
        RequestError: If it is too long, is none of http or https, has a name and password, or an odd port.
    """
    way_out = "give one such as https://example.org/picture.jpg"
    if len(address) > LONGEST or not re.fullmatch(r"[!-\[\]-~]+", address):
        text = f"image: an address has at most {LONGEST} visible characters of ASCII and no backslash; {way_out}"
        raise RequestError(422, text)
    try:
        parts = urlsplit(address)
        port, host = parts.port, parts.hostname
    except ValueError:
        port, host = 0, None
    if not is_address(address) or not host or "%" in host:
        raise RequestError(422, f"image: addresses of http and https are read; {way_out}")
    if "@" in parts.netloc:
        raise RequestError(422, f"image: addresses with a name or a password are not read; {way_out}")
    if port is not None and port not in _USUAL_PORTS and port < _FIRST_PORT:
        raise RequestError(422, f"image: ports are 80, 443, or from {_FIRST_PORT} on; {way_out}")


def _header(response: Response, name: bytes) -> str:
    """Return a header; an empty text leads to the same address again."""
    return next((value.decode("latin-1") for key, value in response.headers if key.lower() == name), "")


async def _content(response: Response, most: int) -> bytes:
    too_large = RequestError(413, f"image: at most {most} bytes are read from addresses; send a smaller one")
    stated = _header(response, b"content-length")
    if stated.isdecimal() and int(stated[:18]) > most:
        raise too_large
    content = bytearray()
    async for chunk in response.aiter_stream():
        content += chunk
        if len(content) > most:
            raise too_large
    return bytes(content)
