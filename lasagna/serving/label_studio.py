"""Routes that Label Studio calls: the assistant as one of its machine learning backends.

Sources: ``HumanSignal/label-studio``, ``label_studio/ml/api_connector.py`` (the requests) and the pages of
labelstud.io about writing a backend and about access tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi import Request as Asked
from fastapi.responses import JSONResponse, Response

from lasagna.core.thresholds import nearness, thresholds_of
from lasagna.errors import ConfigError, QueryError
from lasagna.integrations.label_studio import LabellingSetup
from lasagna.modules.learned_kinds import list_kind
from lasagna.serving.jobs import AskedQuery
from lasagna.serving.limits import Limits, RequestError
from lasagna.serving.requests import check_texts, read_request
from lasagna.serving.schemas import SetupBody, TasksBody
from lasagna.serving.service import Service
from lasagna.serving.uploads import read_base64

_SECONDS = 30.0
"""Time for one image of Label Studio."""


@dataclass(frozen=True)
class LabelStudio:
    """The Label Studio whose images are read; no other address is.

    Args:
        address: Where it is, e.g. "http://localhost:8080".
        key: A token of one of its users: a personal access token, or one of the former kind.

    Raises:
        ConfigError: If the address is none of HTTP.
    """

    address: str
    key: str | None = None

    def __post_init__(self) -> None:
        """Check the address."""
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or "@" in parts.netloc:
            raise ConfigError(f"label_studio: expected an address such as http://localhost:8080, got {self.address!r}")

    def read(self, place: str, limits: Limits) -> bytes:
        """Return the file of an image: stored in the task itself, or kept by Label Studio.

        Args:
            place: What the task says: "data:image/png;base64,...", or a path that begins with "/data/".
            limits: How many bytes are read at most.

        Raises:
            RequestError: If it is somewhere else, or cannot be had.
        """
        if place.startswith("data:image/") and ";base64," in place:
            return read_base64(place.partition(",")[2])
        place = place.removeprefix(self.address.rstrip("/"))
        if not place.startswith("/data/") or ".." in place:
            raise RequestError(422, "image: only images that Label Studio keeps are read; upload or sync them there")
        headers = {} if self.key is None else {"Authorization": self._authorization()}
        return self._get(Request(self.address.rstrip("/") + place, headers=headers), limits.body)

    def _authorization(self) -> str:
        """Return the header for the key; a personal access token is exchanged for one of some minutes."""
        if self.key is not None and self.key.count(".") == 2:
            body = json.dumps({"refresh": self.key}).encode()
            headers = {"Content-Type": "application/json"}
            address = f"{self.address.rstrip('/')}/api/token/refresh"
            try:
                return f"Bearer {json.loads(self._get(Request(address, body, headers), 100_000))['access']}"
            except (ValueError, KeyError, TypeError) as error:
                text = "image: what --label_studio names gave no access for the token; check that it is Label Studio"
                raise RequestError(422, text) from error
        return f"Token {self.key}"

    @staticmethod
    def _get(request: Request, most: int) -> bytes:
        try:
            with build_opener(_NoRedirects).open(request, timeout=_SECONDS) as response:
                content: bytes = response.read(most + 1)
        except (URLError, OSError, ValueError) as error:
            reason = getattr(error, "code", "no answer")
            way_out = "check --label_studio and the variable LABEL_STUDIO_API_KEY"
            raise RequestError(422, f"image: Label Studio did not send it ({reason}); {way_out}") from error
        if len(content) > most:
            raise RequestError(413, f"image: at most {most} bytes are read; use a smaller one")
        return content


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(
        self, req: Request, fp: IO[bytes] | HTTPResponse, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow no redirect, which could lead to any address."""


def add_label_studio(app: FastAPI, service: Service, studio: LabelStudio) -> None:
    """Add the routes that Label Studio calls.

    Args:
        app: The app.
        service: What answers.
        studio: Whose images are read.
    """

    @app.get("/health", include_in_schema=False)
    async def health() -> Response:
        return JSONResponse({"status": "UP", "model_class": "lasagna"})

    @app.post("/setup", include_in_schema=False)
    async def setup(request: Asked) -> Response:
        body, _ = await read_request(request, SetupBody, service.limits)
        LabellingSetup.read(body.label_config)
        return JSONResponse({"model_version": service.name})

    @app.get("/versions", include_in_schema=False)
    async def versions() -> Response:
        return JSONResponse({"versions": [service.name]})

    @app.post("/webhook", include_in_schema=False)
    async def webhook() -> Response:
        return JSONResponse({})

    @app.post("/predict", include_in_schema=False)
    async def predict(request: Asked) -> Response:
        with service.place():
            body, _ = await read_request(request, TasksBody, service.limits)
            found = LabellingSetup.read(body.label_config)
            check_texts(found.labels, service.limits)
            return JSONResponse({"results": await _results(service, studio, found, body.tasks)})


async def _results(
    service: Service, studio: LabelStudio, found: LabellingSetup, tasks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the predictions about tasks; one that cannot be read has an error, which Label Studio skips and logs.

    Raises:
        RequestError: If none can be read.
        QueryError: If none can be asked about.
    """
    results, errors = list[dict[str, Any]](), list[RequestError | QueryError]()
    for task in tasks:
        try:
            results.append(await _predicted(service, studio, found, task))
        except (RequestError, QueryError) as error:
            errors.append(error)
            results.append({"error": str(error)})
    if len(errors) == len(tasks):
        raise errors[0]
    return results


async def _predicted(
    service: Service, studio: LabelStudio, found: LabellingSetup, task: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the prediction about one task, whose score is how certain its least certain decision is, in [0.5, 1]."""
    place = (task.get("data") or {}).get(found.field)
    if not isinstance(place, str):
        raise RequestError(422, f"tasks: one has no text in its field {found.field!r}, where the setup has the image")
    content = await run_sync(studio.read, place, service.limits)
    assistant = service.engine.assistant
    kind = list_kind(assistant, any(kind.many and kind.objects for kind in assistant.learned_kinds.values()))
    asked = AskedQuery(found.query(kind), found.threshold).with_defaults(service.cuts)
    (answer,) = await service.answers(content, [asked])
    cuts = dict(zip(asked.query.names, thresholds_of(asked.decided, assistant.presence_threshold), strict=True))
    near = [nearness(entry["score"] or 0.0, cuts[entry["name"]]) for entry in answer["entries"]]
    certainty = 1 - max(near) / 2 if near else 0.0
    return {"result": found.results(answer), "score": certainty, "model_version": service.name}
