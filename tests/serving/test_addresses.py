"""Images by their addresses: read within limits, with each redirect checked, and in words that tell nothing."""

import asyncio
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep

import pytest

from tests.helpers.assistants import random_assistant
from tests.helpers.served import GOOD, SCENE, need_server, served

need_server()

from lasagna.serving import public_addresses  # noqa: E402
from lasagna.serving.addresses import AddressReader, check_address  # noqa: E402
from lasagna.serving.limits import Limits, RequestError  # noqa: E402

SEEN = []


class Pictures(BaseHTTPRequestHandler):
    """Sends what a path names."""

    def do_GET(self):
        SEEN.append((self.path, dict(self.headers)))
        name, _, rest = self.path[1:].partition("/")
        with suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"send_{name}")(rest)

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for key, value in {"Content_Length": str(len(body)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def send_picture(self, _):
        self.reply(200, SCENE.read_bytes())

    def send_to(self, rest):
        self.reply(302, Location=rest, Set_Cookie="a=b")

    def send_status(self, rest):
        self.reply(int(rest), b"secret")

    def send_claims(self, _):
        self.reply(200, b"", Content_Length="9" * 15)

    def send_endless(self, _):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"x" * 10_000)

    def send_slow(self, _):
        self.send_response(200)
        self.end_headers()
        for _ in range(20):
            self.wfile.write(b"x")
            sleep(0.05)

    def send_nonsense(self, _):
        self.wfile.write(b"\0\1 nonsense\r\n\r\n")

    def send_headers(self, _):
        self.reply(200, b"", **{f"X{rank}": "y" * 1000 for rank in range(200)})

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def port():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def reachable(monkeypatch):
    """Count this machine as public, as long as it is called by its number."""

    async def resolve(host, port):
        return [host if host == "127.0.0.1" else "10.0.0.1"]

    with monkeypatch.context() as patch:
        patch.setattr(public_addresses, "is_public", lambda address: address == "127.0.0.1")
        patch.setattr(public_addresses.PublicBackend, "_resolve", staticmethod(resolve))
        yield


READER = AddressReader(Limits(seconds=0.4))


def read(address, most=1_000_000):
    return asyncio.run(READER.read(address, most))


def test_an_image_is_read_from_its_address_also_after_redirects(monkeypatch, port):
    here = f"http://127.0.0.1:{port}"
    with reachable(monkeypatch):
        assert read(f"{here}/picture#part") == read(f"{here}/to//to//picture") == SCENE.read_bytes()
        image = {"images": [f"{here}/picture", GOOD["image"]], "queries": GOOD["queries"]}
        with served(random_assistant(), urls=True) as client:
            assert client.get("/v1/models").json()["urls"] is True
            kept = client.post("/v1/predict", json={**GOOD, "image": f"{here}/to//picture"})
            several = client.post("/v1/predict", json=image)
            assert (kept.status_code, several.status_code) == (200, 200), kept.text
            assert kept.json() == client.post("/v1/predict", json=GOOD).json()
    sent = {key.lower() for _, headers in SEEN for key in headers}
    assert sent == {"host", "user-agent", "accept", "accept-encoding"}


def test_without_the_flag_no_address_is_read(monkeypatch, port):
    SEEN.clear()
    with reachable(monkeypatch), served(random_assistant()) as client:
        refused = client.post("/v1/predict", json={**GOOD, "image": f"http://127.0.0.1:{port}/picture"})
        assert (refused.status_code, client.get("/v1/models").json()["urls"], SEEN) == (422, False, [])


CANNOT = "image: this address cannot be read; only public addresses of image files, with http or https, are"


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/to/http://10.0.0.1/x", 422, CANNOT),
        ("/to/http://localhost:{port}/picture", 422, CANNOT),
        ("/to/file:///etc/passwd", 422, "addresses of http and https are read"),
        ("/to/gopher://127.0.0.1:{port}/", 422, "addresses of http and https are read"),
        ("/to/http://me:secret@127.0.0.1:{port}/picture", 422, "with a name or a password are not read"),
        ("/to//to//to//to//picture", 422, "leads on more than 3 times"),
        ("/to/", 422, "leads on more than 3 times"),
        ("/status/404", 422, "answers with status 404"),
        ("/status/204", 422, "answers with status 204"),
        ("/claims", 413, "at most 1000000 bytes"),
        ("/endless", 413, "at most 1000000 bytes"),
        ("/slow", 408, "within 0.4 s"),
        ("/nonsense", 422, CANNOT),
        ("/headers", 422, CANNOT),
        ("/unknown", 422, CANNOT),
    ],
)
def test_answers_that_are_no_image_within_the_limits(monkeypatch, port, path, status, words):
    with reachable(monkeypatch), pytest.raises(RequestError) as error:
        read(f"http://127.0.0.1:{port}{path.replace('{port}', str(port))}")
    assert (error.value.status, words in str(error.value)) == (status, True), str(error.value)
    assert "127.0.0.1" not in str(error.value) and "secret" not in str(error.value)


def test_hosts_that_are_not_public_do_not_exist_or_do_not_answer_look_alike(port):
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}", f"127.1:{port}", "10.0.0.1", "169.254.169.254/latest", "[::1]")
    texts = set()
    for host in (*hosts, "[::ffff:127.0.0.1]", "nobody.invalid", "a" * 70, "a..b"):
        for scheme in ("http", "https"):
            with pytest.raises(RequestError) as error:
                read(f"{scheme}://{host}")
            texts.add(str(error.value))
    assert texts == {CANNOT}


LONG = "http://a/" + "x" * 2100
ODD = [
    r"http://",
    r"http:///x",
    r"http://a\b/",
    r"http://[::1/",
    r"ftp://a/",
    r"http://a:99999/",
    r"http://a:x/",
    r"http://a:25/",
    r"http://a:22/",
    r"http://u@a/",
    r"http://u:p@a/",
    r"http://@a/",
    r"http://bücher.example/",
    r"http://[fe80::1%25eth0]/",
    r"http://a%2eb/",
    r"//a/",
]


@pytest.mark.parametrize("address", [*ODD, LONG, "", "http://a b/", "http://a/\r\nHost: b", "http://a\0b/"])
def test_odd_addresses_are_refused_before_anything_is_looked_up(address):
    with pytest.raises(RequestError, match=r"^image: .*give one such as https://example\.org/picture\.jpg$") as error:
        check_address(address)
    assert error.value.status == 422


def test_usual_addresses_are_taken():
    for address in ("https://example.org/a.jpg?b=c&d=%20#e", "HTTP://EXAMPLE.ORG:8080", "https://[2a00::1]:443/x"):
        check_address(address)
