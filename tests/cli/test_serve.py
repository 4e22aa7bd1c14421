"""The ``lasagna serve`` command, before it serves, and the commands of its page against a server."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

import lasagna
from lasagna.__main__ import main
from lasagna.cli import serve as module
from lasagna.cli.serve import check_access, check_extra, listener, serve
from lasagna.errors import ConfigError, LasagnaError
from lasagna.serving.limits import Limits
from tests.helpers.documented import ROOT, blocks
from tests.helpers.served import GOOD, need_server, on_port

PAGE = ROOT / "docs" / "how_to" / "serve.md"
TOKEN = "a-token-of-some-length"


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "uvicorn" else name)
    with pytest.raises(ConfigError, match=r'uvicorn not installed; pip install "lasagna\[serve\]"'):
        serve(ckpt=Path("nowhere"))


def test_other_addresses_need_a_token_of_some_length(monkeypatch, capsys):
    need_server()
    check_extra()
    check_access("127.0.0.1", None)
    check_access("0.0.0.0", TOKEN)
    monkeypatch.delenv("LASAGNA_TOKEN", raising=False)
    with pytest.raises(SystemExit):
        main(["serve", "--host", "0.0.0.0", "--limits.pixels", "8000000"])
    assert "error: token: other machines can reach '0.0.0.0', so that it needs a --token" in capsys.readouterr().err
    monkeypatch.setenv("LASAGNA_TOKEN", "short")
    with pytest.raises(ConfigError, match="at least 16 visible characters"):
        serve(ckpt=Path("nowhere"), host="0.0.0.0")
    with pytest.raises(ConfigError, match="at least 16 visible characters"):
        check_access("0.0.0.0", "a token of some length")


def test_a_threshold_holds_where_requests_give_none():
    need_server()
    from fastapi.testclient import TestClient

    from lasagna.serving.server import ServerRecipe

    recipe = ServerRecipe(Limits(), threshold=1.0, thresholds={"Sky": 0.0, "mountain": 0.3})
    with TestClient(recipe.app(), base_url="http://localhost") as client:
        [model] = client.get("/v1/models").json()["models"]
        given = [
            {},
            {"threshold": 0.5},
            {"threshold": 1.0},
            {"thresholds": {"sky": 1.0, "dog": 0.0}},
            {"decoding": "free"},
        ]
        answers = [client.post("/v1/predict", json={**GOOD, **more}).json()["answers"][0] for more in given]
    assert (model["threshold"], model["thresholds"]) == (1.0, {"Sky": 0.0, "mountain": 0.3})
    assert [[entry["present"] for entry in answer["entries"]] for answer in answers] == [
        [True, False, False],
        [True, False, True],
        [False, False, False],
        [False, True, False],
        [True, False, True],
    ]
    with pytest.raises(LasagnaError, match=r"threshold: expected a number in \[0, 1\], got 2"):
        serve(threshold=2)


def test_a_port_that_is_taken_or_an_address_of_nobody():
    with listener("127.0.0.1", 0) as taken, pytest.raises(LasagnaError, match="choose another --port"):
        listener("127.0.0.1", taken.getsockname()[1])
    with listener("127.0.0.1", 0) as opened:
        # otherwise each response takes 40 ms more
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    with pytest.raises(LasagnaError, match="cannot listen on '192"):
        listener("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="from 0 to 65535, got 99999"):
        listener("127.0.0.1", 99_999)


@pytest.mark.parametrize("limit", [{"pixels": 0}, {"seconds": float("nan")}, {"batch": -1}])
def test_limits_allow_something(limit):
    with pytest.raises(ConfigError, match=rf"limits\.{next(iter(limit))}: expected a number above 0"):
        Limits(**limit)


@pytest.fixture(scope="module")
def port():
    """The port of a server on the loopback."""
    need_server()
    with on_port(lasagna.load()) as port:
        yield port


def at_port(text, port):
    assert "127.0.0.1:8000" in text
    return text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")


def test_the_requests_of_the_page_are_answered(port, tmp_path, monkeypatch, capfd):
    if not (shutil.which("curl") and shutil.which("bash")):
        pytest.skip("the page asks with curl, from bash")
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    lines = [at_port(block, port) for block in blocks(PAGE, "sh") if "curl" in block]
    assert len(lines) >= 4
    for text in lines:
        done = subprocess.run(["bash", "-euc", f"set -o pipefail\n{text}"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(("{", "data: ", "# HELP"))
    for text in blocks(PAGE, "python"):
        exec(compile(at_port(text, port), PAGE.name, "exec"), {"__name__": "__main__"})
    assert re.search(r"sky True", capfd.readouterr().out)


def test_names_of_other_hosts_are_refused_over_the_wire(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 403") and b"\nserver:" not in answer.lower()
