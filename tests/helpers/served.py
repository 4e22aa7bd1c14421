"""A server in the process of a test, and a picture to ask about."""

import base64
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from threading import Thread
from time import sleep

import numpy as np
import pytest
from PIL import Image

SCENE = Path(__file__).parents[2] / "docs" / "images" / "scene.png"
GOOD = {"image": base64.b64encode(SCENE.read_bytes()).decode("ascii"), "queries": [{"names": ["sky", "dog", "house"]}]}
"""A request that every server answers."""


def need_server():
    """Skip tests where the extra `serve` is not installed."""
    for package in ("fastapi", "httpcore2", "uvicorn", "python_multipart", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")


@contextmanager
def served(assistant, token=None, host="127.0.0.1", running=True, studio=None, worker=None, urls=False, **limits):
    """Yield a client of a server, whose app is ``client.app``; without ``running`` nothing is ever answered."""
    from fastapi.testclient import TestClient

    from lasagna.serving.limits import Limits
    from lasagna.serving.server import make_app

    app = make_app(assistant, "scenes", host, token, Limits(**limits), studio=studio, worker=worker, urls=urls)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    if running:
        with client:
            yield client
    else:
        yield client


@contextmanager
def on_port(assistant, **limits):
    """Yield the port of the loopback on which a thread serves an assistant."""
    import uvicorn

    from lasagna.cli.serve import listener
    from lasagna.serving.limits import Limits
    from lasagna.serving.server import make_app, server_config

    taken = Limits(**limits)
    server = uvicorn.Server(server_config(make_app(assistant, "scenes", "127.0.0.1", None, taken), taken))
    with listener("127.0.0.1", 0) as listening:
        thread = Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        while not server.started and thread.is_alive():
            sleep(0.01)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()


def picture(height=40, width=60, format="PNG", seed=0):
    """Return an image file of noise."""
    stream = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()
