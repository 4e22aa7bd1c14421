"""The OpenAPI schema: bodies that are read as JSON or as a form, with examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from lasagna.serving.schemas import IMAGE, ChatBody, PredictBody, UploadBody

_SCHEMAS = "#/components/schemas/"
BODIES: tuple[type[BaseModel], ...] = (PredictBody, UploadBody, ChatBody)


def _body(model: type[BaseModel], **examples: dict[str, Any]) -> dict[str, Any]:
    named = {name: {"value": value} for name, value in examples.items()}
    json = {"schema": {"$ref": f"{_SCHEMAS}{model.__name__}"}, "examples": named}
    form = {"schema": {"$ref": f"{_SCHEMAS}{model.__name__}Form"}}
    content = {"application/json": json, "multipart/form-data": form}
    return {"requestBody": {"required": True, "content": content}}


PREDICT = _body(
    PredictBody,
    names={"image": IMAGE, "queries": [{"names": ["sky", "dog", "house"]}]},
    together={"images": [IMAGE, IMAGE], "masks_on": 0, "queries": [{"kind": "referring", "names": ["what is new"]}]},
    phrase={"image": IMAGE, "queries": [{"kind": "referring", "names": ["the ball left of the house"]}]},
    thresholds={"image": IMAGE, "queries": [{"names": ["sky", "dog"]}], "threshold": 0.6, "thresholds": {"dog": 0.7}},
    polygons={
        "image": IMAGE,
        "queries": [{"names": ["sky"]}, {"kind": "question", "names": ["what colour is the kite"]}],
        "threshold": 0.7,
        "masks": "polygons",
    },
)
IMAGES = _body(UploadBody, upload={"image": IMAGE})
CHAT = _body(ChatBody, question={"image": IMAGE, "question": "what colour is the kite", "stream": True})


def add_schema(app: FastAPI, with_token: bool) -> None:
    """Let an app describe its bodies, which it reads itself.

    Args:
        app: The app.
        with_token: Whether requests need a token.
    """

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app, with_token)
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]


def _schema(app: FastAPI, with_token: bool) -> dict[str, Any]:
    found = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for model in BODIES:
        body = model.model_json_schema(ref_template=_SCHEMAS + "{model}")
        schemas.update(body.pop("$defs", {}))
        file = {"type": "string", "format": "binary", "description": "The image file; again for each shown with it."}
        schemas[model.__name__] = body
        schemas[f"{model.__name__}Form"] = {**body, "properties": {**body["properties"], "image": file}}
    if with_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found
