"""Who may talk to the server: the token, and the hosts and pages that requests may come from."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Collection
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lasagna.serving.limits import RequestError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that requests may call it by, if nobody else can reach the server."""

OPEN_PATHS = ("/v1/health",)
"""Paths that need no token."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    Args:
        host: A name or an address to listen on.
    """
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Lets requests pass that have the token and come neither from a page of another site nor under a foreign name.

    A web page can send requests to a server on the reader's own machine, and can give its own name the address of that
    machine. Both are refused.

    Args:
        app: The app behind it.
        token: The token that requests must have, or None.
        hosts: Names that requests may call the server by; None for any.
    """

    def __init__(self, app: ASGIApp, token: str | None, hosts: Collection[str] | None) -> None:
        self.app = app
        self.expected = None if token is None else sha256(token.encode()).digest()
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"], headers["X-Content-Type-Options"] = "no-store", "nosniff"
            await send(message)

        try:
            self._check(Headers(scope=scope), str(scope["path"]))
        except RequestError as error:
            refusal = JSONResponse({"error": str(error)}, error.status, error.headers)
            return await refusal(scope, receive, marked)
        return await self.app(scope, receive, marked)

    def _check(self, headers: Headers, path: str) -> None:
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise RequestError(403, f"host: this server is called {', '.join(self.hosts)} only")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise RequestError(403, "origin: pages of other sites may not ask this server")
        if self.expected is None or path in OPEN_PATHS:
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            scheme, token = "bearer", _password(token)
        # digests have one length, so that the time of the comparison tells nothing about the token
        given = sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        if not hmac.compare_digest(given, self.expected) or scheme.lower() != "bearer":
            way_out = "send the header `Authorization: Bearer TOKEN`"
            # a browser that opens the page asks its reader for a name, which is ignored, and a password
            scheme = "Bearer" if path.startswith("/v1/") else 'Basic realm="lasagna"'
            raise RequestError(401, f"token: {way_out}", {"WWW-Authenticate": scheme})


def _password(code: str) -> str:
    """Return the password of a header of basic authentication, as Label Studio sends; empty if it is none."""
    try:
        return b64decode(code, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


def _name(host: str) -> str:
    """Return the name in a header Host, without its port and brackets; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
