"""The routes for Label Studio: images of the one address, predictions, and everything else refused."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

import lasagna
from lasagna.errors import ConfigError
from tests.helpers.served import SCENE, need_server, served

need_server()

SETUP = """<View><Image name="image" value="$image"/>
<BrushLabels name="what" toName="image"><Label value="sky"/><Label value="dog"/><Label value="house"/></BrushLabels>
<Choices name="absent" toName="image" choice="multiple"><Choice value="dog"/></Choices></View>"""
CUT = 'toName="image" model_score_threshold="1"'
PLACE = "/data/upload/1/scene.png"


class Studio(BaseHTTPRequestHandler):
    """Sends one image, as Label Studio does, to who has the token; "/data/moved" leads elsewhere."""

    access = b'{"access": "short"}'

    def do_GET(self):
        if self.path == "/data/moved":
            self.send_response(302)
            self.send_header("Location", PLACE)
            self.end_headers()
            return
        allowed = self.headers.get("Authorization") in ("Token secret", "Bearer short")
        self.send_response(200 if allowed and self.path == PLACE else 401)
        self.end_headers()
        self.wfile.write(SCENE.read_bytes())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200 if self.path == "/api/token/refresh" and body == {"refresh": "a.b.c"} else 401)
        self.end_headers()
        self.wfile.write(self.access)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Studio)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def assistant():
    return lasagna.load()


def client(assistant, address, key="secret"):
    from lasagna.serving.label_studio import LabelStudio

    return served(assistant, studio=LabelStudio(address, key), body=200_000)


def ask(opened, *places):
    tasks = [{"id": rank, "data": {"image": place}} for rank, place in enumerate(places)]
    return opened.post("/predict", json={"tasks": tasks, "label_config": SETUP, "project": "1.2", "params": {}})


@pytest.mark.parametrize("key", ["secret", "a.b.c"])
def test_a_task_gets_regions_and_what_is_absent(assistant, address, key):
    inline = "data:image/png;base64," + base64.b64encode(SCENE.read_bytes()).decode()
    with client(assistant, address, key) as opened:
        assert opened.get("/health").json()["status"] == "UP"
        sent = {"project": "1.2", "schema": SETUP, "hostname": "x", "access_token": "y"}
        assert opened.post("/setup", json=sent).json() == {"model_version": "scenes"}
        results = ask(opened, PLACE, address + PLACE, inline).json()["results"]
    values = [region["value"] for region in results[0]["result"]]
    names = [value.get("brushlabels") or value["choices"] for value in values]
    assert sorted(name for [name] in names) == ["dog", "house", "sky"]
    assert names[-1] == ["dog"]
    assert results[0] == results[1] == results[2]
    assert 0.5 <= results[0]["score"] <= 1


def test_labels_have_thresholds_of_their_own(assistant, address):
    cut = SETUP.replace('"dog"/><Label', '"dog" model_score_threshold="0"/><Label')
    with client(assistant, address) as opened:
        sent = {"tasks": [{"data": {"image": PLACE}}], "label_config": cut.replace('toName="image"', CUT, 1)}
        [result] = opened.post("/predict", json=sent).json()["results"]
    assert [region["value"].get("brushlabels") for region in result["result"]] == [["dog"]]
    assert 0.5 <= result["score"] < 0.51, "scores at their thresholds are not certain"


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("http://127.0.0.1:1/data/x.png", "only images that Label Studio keeps"),
        ("/etc/passwd", "only images that Label Studio keeps"),
        ("/data/../etc/passwd", "only images that Label Studio keeps"),
        ("s3://bucket/x.png", "only images that Label Studio keeps"),
        ("data:image/png;base64,AAA", "expected an image file in base64"),
        ("/data/moved", r"did not send it \(302\)"),
        ("/data/upload/1/other.png", r"did not send it \(401\); check --label_studio and the variable"),
    ],
)
def test_no_other_place_is_read(assistant, address, place, reason):
    with client(assistant, address) as opened:
        response = ask(opened, place)
    assert response.status_code == 422
    assert response.json()["error"].startswith("image: ")
    assert re.search(reason, response.json()["error"])


def test_a_task_that_cannot_be_read_leaves_the_others_their_predictions(assistant, address):
    with client(assistant, address) as opened:
        response = ask(opened, "s3://bucket/x.png", PLACE)
    refused, answered = response.json()["results"]
    assert list(refused) == ["error"]
    assert "only images that Label Studio keeps" in refused["error"]
    assert answered["result"]


def test_a_token_that_another_program_answers_is_refused_in_words(address, monkeypatch):
    monkeypatch.setattr(Studio, "access", b"<html>")
    from lasagna.serving.label_studio import LabelStudio
    from lasagna.serving.limits import Limits, RequestError

    with pytest.raises(RequestError, match="gave no access for the token; check that it is"):
        LabelStudio(address, "a.b.c").read(PLACE, Limits())


def test_setups_and_addresses_of_no_use(assistant, address):
    with client(assistant, address) as opened:
        refused = opened.post("/setup", json={"schema": "<View/>"})
    assert (refused.status_code, refused.json()["error"][:13]) == (422, "label_config:")
    from lasagna.serving.label_studio import LabelStudio

    for wrong in ("localhost:8080", "ftp://localhost", "http://user:word@localhost", "http://localhost/?a=b"):
        with pytest.raises(ConfigError, match="label_studio: expected an address such as http"):
            LabelStudio(wrong)


def test_without_the_option_there_are_no_such_routes(assistant):
    with served(assistant) as opened:
        assert opened.post("/predict", json={}).status_code == 404


def call(address, path, token, body=None, content="application/json"):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Token {token}", "Content-Type": content}
    with urlopen(Request(address + path, data, headers), timeout=60) as response:
        return json.loads(response.read() or b"null")


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def wait_for(address, seconds=600):
    end = time.monotonic() + seconds
    while True:
        try:
            return urlopen(address, timeout=5).read()
        except (URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(1)


@pytest.mark.slow
def test_label_studio_itself_shows_the_predictions(tmp_path):
    """Label Studio from PyPI with SQLite: a project, an image, and predictions from ``lasagna serve``."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    binaries = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    subprocess.run([binaries / "python", "-m", "pip", "install", "--quiet", "label-studio"], check=True)
    token = "0123456789abcdef0123456789abcdef01234567"
    studio, backend = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        **os.environ,
        "LABEL_STUDIO_BASE_DATA_DIR": str(tmp_path / "studio"),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LATEST_VERSION_CHECK": "false",
        "COLLECT_ANALYTICS": "false",
        "ML_BLOCK_LOCAL_IP": "false",
        "USE_DEFAULT_BANNED_SUBNETS": "false",
        "LABEL_STUDIO_API_KEY": token,
    }
    settings.pop("PYTHONPATH", None)
    user = ["--username", "a@example.org", "--password", "password12", "--user-token", token]
    port = studio.rpartition(":")[2]
    started = [
        binaries / "label-studio",
        "start",
        "--no-browser",
        "--internal-host",
        "127.0.0.1",
        "--port",
        port,
        *user,
    ]
    serving = [sys.executable, "-m", "lasagna", "serve", "--port", backend.rpartition(":")[2], "--label_studio", studio]
    with (tmp_path / "log").open("wb") as log:
        processes = [
            subprocess.Popen(started, env=settings, stdout=log, stderr=log),
            subprocess.Popen(serving, env={**os.environ, "LABEL_STUDIO_API_KEY": token}, stdout=log, stderr=log),
        ]
        try:
            wait_for(f"{studio}/health")
            wait_for(f"{backend}/health")
            cut = SETUP.replace('"house"', '"house" model_score_threshold="1"')
            project = call(studio, "/api/projects/", token, {"title": "scenes", "label_config": cut})["id"]
            head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="scene.png"\r\n'
            form = head + b"Content-Type: image/png\r\n\r\n" + SCENE.read_bytes() + b"\r\n--x--\r\n"
            call(studio, f"/api/projects/{project}/import", token, form, "multipart/form-data; boundary=x")
            connected = call(studio, "/api/ml/", token, {"url": backend, "project": project, "title": "lasagna"})
            assert connected["state"] == "CO"
            task = call(studio, f"/api/tasks/?project={project}", token)["tasks"][0]["id"]
            everything = {"selectedItems": {"all": True, "excluded": []}}
            call(studio, f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", token, everything)
            shown = call(studio, f"/api/predictions/?task={task}", token)
            for _ in range(60):
                if shown:
                    break
                time.sleep(1)
                shown = call(studio, f"/api/predictions/?task={task}", token)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)
    [prediction] = shown
    regions = [region["value"] for region in prediction["result"]]
    assert sorted(region["brushlabels"][0] for region in regions if "brushlabels" in region) == ["sky"]
    assert [region["choices"] for region in regions if "choices" in region] == [["dog"]]
