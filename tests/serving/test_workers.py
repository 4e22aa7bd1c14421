"""Several processes on one port: what one of them keeps, and how they start and end."""

import json
import re
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection

import pytest

from lasagna.errors import ConfigError
from tests.helpers.assistants import random_assistant
from tests.helpers.served import GOOD, need_server, served

need_server()

from lasagna.cli.serve import serve  # noqa: E402


def test_a_process_names_itself_and_says_where_an_image_may_be():
    with served(random_assistant(), worker="2") as client:
        key = client.post("/v1/images", json={"image": GOOD["image"]}).json()["image_id"]
        assert key.startswith("2.")
        assert client.delete(f"/v1/images/{key}").status_code == 204
        gone = client.delete(f"/v1/images/{key}")
        elsewhere = client.post("/v1/predict", json={"image_id": "1.abc", "queries": GOOD["queries"]})
        assert (gone.status_code, elsewhere.status_code) == (404, 404)
        assert "no image of this id is kept" in gone.json()["error"]
        assert "another of this server's processes keeps it" in elsewhere.json()["error"]
        assert 'lasagna_kept_images{worker="2"} 0.0' in client.get("/v1/metrics").text
        assert "leave out --workers" in client.get("/").json()["page"]


def test_there_is_at_least_one_process():
    with pytest.raises(ConfigError, match="workers: expected a whole number of at least 1, got 0"):
        serve(workers=0)


def started(*words):
    command = [sys.executable, "-m", "lasagna", "serve", "--port", "0", "--workers", "2", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def port_of(process):
    lines = iter(process.stdout.readline, "")
    return int(next(found[1] for line in lines if (found := re.search(r":(\d+)/v1 answers when 2", line))))


def ask(connection, method, path, body=None):
    content = {"Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), content)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


@pytest.mark.slow
def test_two_processes_answer_on_one_port_until_ctrl_c():
    process = started()
    try:
        port = port_of(process)
        mine = HTTPConnection("127.0.0.1", port, timeout=300)
        _, kept = ask(mine, "POST", "/v1/images", {"image": GOOD["image"]})
        query = {"image_id": json.loads(kept)["image_id"], "queries": GOOD["queries"]}
        statuses, workers = set(), set()
        end = time.monotonic() + 300
        while time.monotonic() < end:
            # the server closes connections that are idle for ten seconds
            assert ask(mine, "GET", "/v1/health")[0] == 200
            other = HTTPConnection("127.0.0.1", port, timeout=300)
            statuses.add(ask(other, "POST", "/v1/predict", query)[0])
            workers |= set(re.findall(r'kept_images\{worker="(\d+)"\}', ask(other, "GET", "/v1/metrics")[1]))
            other.close()
            if len(workers) == len(statuses) == 2:
                break
        assert (statuses, len(workers)) == ({200, 404}, 2)
        assert ask(mine, "POST", "/v1/predict", query)[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=120) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()


@pytest.mark.slow
def test_processes_end_with_a_command_that_is_killed():
    process = started()
    try:
        port = port_of(process)
        assert ask(HTTPConnection("127.0.0.1", port, timeout=300), "GET", "/v1/health")[0] == 200
    finally:
        process.kill()
    process.wait()
    end = time.monotonic() + 120
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < end:
            HTTPConnection("127.0.0.1", port, timeout=5).connect()
            time.sleep(0.2)


@pytest.mark.slow
def test_processes_that_cannot_start_end_the_command_in_words(tmp_path):
    process = started("--ckpt", str(tmp_path / "nowhere.ckpt"))
    try:
        _, told = process.communicate(timeout=300)
    finally:
        process.kill()
    assert process.returncode not in (0, None)
    assert "error: checkpoint: there is no file" in told
    assert told.splitlines()[-1].startswith("error: workers: one of 2 processes could not start")
    assert "Traceback" not in told
