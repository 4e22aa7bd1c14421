"""The way to the page: which of Gradio's routes are open, what they take, and what a browser may load for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lasagna.serving.limits import RequestError
from lasagna.serving.service import Service
from lasagna.serving.uploads import read_body

ASK = "/gradio_api/queue/join"
"""Where the page's controls send what they hold."""

OPEN = {
    "/": "GET",
    "/config": "GET",
    "/theme.css": "GET",
    "/favicon.ico": "GET",
    "/gradio_api/theme.css": "GET",
    "/gradio_api/startup-events": "GET",
    "/gradio_api/app_id": "GET",
    "/gradio_api/queue/data": "GET",
    "/gradio_api/cancel": "POST",
    ASK: "POST",
}
"""Paths of Gradio that are open; those that take, read or fetch files are not."""

OPEN_BELOW = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""What browsers load for the page: nothing of other servers, and never inside another page."""


class PageRoute(BaseRoute):
    """The open routes of a page.

    Args:
        app: Gradio's app.
        service: Whose limits hold.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a request is for the page."""
        path, method = str(scope.get("path", "")), scope.get("method", "")
        below = path.startswith(OPEN_BELOW) and method == "GET"
        is_open = scope["type"] == "http" and (OPEN.get(path) == method or below)
        return (Match.FULL if is_open else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the page."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"], headers["Referrer-Policy"] = POLICY, "no-referrer"
            await send(message)

        if scope["method"] == "POST":
            try:
                receive = await self._checked(scope, receive)
            except RequestError as error:
                refusal = JSONResponse({"error": str(error)}, error.status, error.headers)
                return await refusal(scope, receive, guarded)
        await self.app(scope, receive, guarded)

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Read a body within the limits, and return what gives it once more."""
        with self.service.place():
            body = await read_body(Request(scope, receive), self.service.limits)
            try:
                content = from_json(body)
            except ValueError as error:
                raise RequestError(422, "body: it is not JSON") from error
        if not isinstance(content, Mapping) or not _is_plain(content.get("data", [])):
            raise RequestError(422, "body: the page sends texts and numbers only")
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again


def _is_plain(data: Any) -> bool:  # noqa: ANN401
    """Return whether Gradio finds no file in what a control holds: it would fetch the address that a file names."""
    return isinstance(data, list) and all(isinstance(value, str | int | float | None) for value in data)
