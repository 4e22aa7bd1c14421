"""A server in the process of a test, and a picture to ask about."""

import base64
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCENE = Path(__file__).parents[2] / "docs" / "images" / "scene.png"
GOOD = {"image": base64.b64encode(SCENE.read_bytes()).decode("ascii"), "queries": [{"names": ["sky", "dog", "house"]}]}
"""A request that every server answers."""


def need_server():
    """Skip tests where the extra `serve` is not installed."""
    for package in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")


@contextmanager
def served(assistant, token=None, host="127.0.0.1", running=True, studio=None, **limits):
    """Yield a client of a server, whose app is ``client.app``; without ``running`` nothing is ever answered."""
    from fastapi.testclient import TestClient

    from lasagna.cli.serve import make_app
    from lasagna.serving.limits import Limits

    app = make_app(assistant, "scenes", host, token, Limits(**limits), studio=studio)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    if running:
        with client:
            yield client
    else:
        yield client


def picture(height=40, width=60, format="PNG", seed=0):
    """Return an image file of noise."""
    stream = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, format)
    return stream.getvalue()
