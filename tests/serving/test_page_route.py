"""Which of Gradio's routes are open, and what they refuse."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from tests.helpers.served import need_server

need_server()

from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from lasagna.serving.limits import Limits  # noqa: E402
from lasagna.serving.page_route import ASK, PageRoute  # noqa: E402


@pytest.fixture(scope="module")
def client():
    inner = FastAPI()

    @inner.get("/{path:path}")
    async def answer():
        return "of Gradio"

    @inner.post("/{path:path}")
    async def echo(body: dict):
        return body

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.router.routes.append(PageRoute(inner, SimpleNamespace(limits=Limits(body=200), place=nullcontext)))
    return TestClient(app)


def test_only_routes_without_files_are_open_and_nothing_is_loaded_from_elsewhere(client):
    shown = client.get("/")
    assert shown.json() == "of Gradio"
    assert "default-src 'self'" in shown.headers["content-security-policy"]
    assert client.get("/assets/index.js").status_code == 200
    closed = ("/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://x", "/gradio_api/info", "/monitoring")
    assert [client.get(path).status_code for path in closed] == [404] * len(closed)
    sent = ("/gradio_api/upload", "/gradio_api/run/predict", "/gradio_api/call/predict", "/login", "/")
    assert [client.post(path, json={}).status_code for path in sent] == [404] * len(sent)


def test_a_body_is_within_the_limit_and_holds_no_file_whose_address_would_be_fetched(client):
    assert client.post(ASK, json={"data": ["sky", 0.5, None]}).json() == {"data": ["sky", 0.5, None]}
    file = {"path": "http://10.0.0.1/", "meta": {"_type": "gradio.FileData"}}
    refused = [{"data": [file]}, {"data": [[file]]}, {"data": file}, [file]]
    assert [client.post(ASK, json=body).status_code for body in refused] == [422] * 4
    assert client.post(ASK, content="{").status_code == 422
    assert client.post(ASK, content=json.dumps({"data": ["x" * 200]})).status_code == 413
