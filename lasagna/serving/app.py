"""The routes of the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.exceptions import HTTPException

from lasagna import __version__
from lasagna.errors import QueryError
from lasagna.serving.guard import Guard
from lasagna.serving.label_studio import LabelStudio, add_label_studio
from lasagna.serving.limits import RequestError
from lasagna.serving.metrics import Measured
from lasagna.serving.openapi import CHAT, IMAGES, PREDICT, add_schema
from lasagna.serving.page import add_page
from lasagna.serving.requests import read_request
from lasagna.serving.schemas import (
    ChatAnswer,
    ChatBody,
    ErrorAnswer,
    ImageAnswer,
    ModelsAnswer,
    PredictAnswer,
    PredictBody,
    UploadBody,
)
from lasagna.serving.service import Service, events

REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": ErrorAnswer, "description": "The token is missing or wrong"},
    403: {"model": ErrorAnswer, "description": "Sent by a page of another site"},
    404: {"model": ErrorAnswer, "description": "No image of this id is kept"},
    408: {"model": ErrorAnswer, "description": "Too slow"},
    413: {"model": ErrorAnswer, "description": "Too large"},
    415: {"model": ErrorAnswer, "description": "Neither JSON nor a form"},
    422: {"model": ErrorAnswer, "description": "Cannot be read or asked"},
    503: {"model": ErrorAnswer, "description": "Too many requests wait"},
}


def create_app(
    service: Service,
    token: str | None = None,
    hosts: Collection[str] | None = None,
    studio: LabelStudio | None = None,
) -> FastAPI:
    """Return the app of a service; its engine runs as long as the app does.

    Args:
        service: What answers.
        token: The token that requests must have, or None.
        hosts: Names that requests may call the server by; None for any.
        studio: The Label Studio that may call it, or None.
    """

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        service.engine.start()
        yield
        service.engine.stop()

    # no pages about the API: they would load scripts of other servers
    app = FastAPI(
        title="lasagna",
        version=__version__,
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,
        responses=REFUSALS,
    )
    app.add_middleware(Guard, token=token, hosts=hosts)
    app.add_middleware(Measured, metrics=service.metrics)
    _add_handlers(app)
    _add_answers(app, service)
    _add_facts(app, service)
    if studio is not None:
        add_label_studio(app, service, studio)
    add_schema(app, with_token=token is not None)
    add_page(app, service)
    return app


def _add_answers(app: FastAPI, service: Service) -> None:
    """Add the routes that the assistant answers."""

    @app.post("/v1/predict", openapi_extra=PREDICT, responses={200: {"model": PredictAnswer}})
    async def predict(request: Request) -> Response:
        """Answer queries about an image: which names are there, and where."""
        with service.place():
            return JSONResponse(await service.predict(*await read_request(request, PredictBody, service.limits)))

    @app.post("/v1/images", openapi_extra=IMAGES, status_code=201, responses={201: {"model": ImageAnswer}})
    async def keep(request: Request) -> Response:
        """Encode an image once and keep it, to ask about it by its id."""
        with service.place():
            kept = await service.keep(*await read_request(request, UploadBody, service.limits))
            return JSONResponse(kept, 201)

    @app.delete("/v1/images/{image_id}", status_code=204)
    async def forget(image_id: str) -> Response:
        """Drop an image that is kept."""
        service.kept.drop(image_id)
        return Response(status_code=204)

    @app.post("/v1/chat", openapi_extra=CHAT, responses={200: {"model": ChatAnswer}})
    async def chat(request: Request) -> Response:
        """Answer a question in words, in whole or piece by piece."""
        release = service.take_place()
        try:
            body, files = await read_request(request, ChatBody, service.limits)
        except BaseException:
            release()
            raise
        pieces = await service.chat(body, files, release)
        if body.stream:
            return StreamingResponse(events(pieces), media_type="text/event-stream")
        return JSONResponse({"text": "".join([piece async for piece in pieces])})


def _add_facts(app: FastAPI, service: Service) -> None:
    """Add the routes about the server."""

    @app.get("/v1/models", responses={200: {"model": ModelsAnswer}})
    async def models() -> Response:
        """Say which assistant answers, which kinds of queries it takes, and the limits."""
        facts = {"models": service.models(), "limits": asdict(service.limits), "version": __version__}
        return JSONResponse({**facts, "urls": service.addresses is not None})

    @app.get("/v1/health")
    async def health() -> Response:
        """Say whether requests are answered; needs no token."""
        alive = service.engine.alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/v1/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return counts and times in the text format of Prometheus."""
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_handlers(app: FastAPI) -> None:
    """Answer errors as JSON that says nothing about the machine."""

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> Response:
        return JSONResponse({"error": str(error)}, error.status, error.headers)

    @app.exception_handler(QueryError)
    async def not_asked(_: Request, error: QueryError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(HTTPException)
    async def not_found(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": "server: the request could not be answered"}, 500)
