"""Who may talk to the server."""

import pytest

from tests.helpers.served import need_server

need_server()

from starlette.responses import PlainTextResponse  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from lasagna.serving.guard import LOOPBACK, Guard, is_loopback  # noqa: E402

TOKEN = "a-token-of-some-length"


def client(token=None, hosts=None):
    return TestClient(Guard(PlainTextResponse("inside"), token, hosts), base_url="http://localhost:8000")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", "127.0.0.1.example.org", "")],
)
def test_addresses_that_only_this_machine_reaches(host, loopback):
    assert is_loopback(host) == loopback


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_its_own_names_are_let_in(host):
    assert client(hosts=LOOPBACK).get("/", headers={"host": host}).text == "inside"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "localhost@evil.example"])
def test_names_that_were_given_this_address_are_not(host):
    assert client(hosts=LOOPBACK).get("/", headers={"host": host}).status_code == 403


def test_pages_of_other_sites_are_not_let_in():
    own, other = {"origin": "http://localhost:8000"}, {"origin": "https://evil.example"}
    assert client(hosts=LOOPBACK).post("/", headers=own).status_code == 200
    for header in (other, {"origin": "null"}, {"origin": "http://localhost:9000"}):
        assert client(hosts=LOOPBACK).post("/", headers=header).status_code == 403


def test_a_browser_asks_its_reader_for_the_token_of_the_page():
    guarded = client(TOKEN)
    assert guarded.get("/v1/models").headers["www-authenticate"] == "Bearer"
    refused = guarded.get("/")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Basic realm="lasagna"')
    assert guarded.get("/", auth=("anyone", TOKEN)).status_code != 401


def test_a_token_is_compared_in_constant_time(monkeypatch):
    lengths = []

    def compare(one, other):
        lengths.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    guarded = client(TOKEN)
    answered = [
        guarded.get("/v1/models", headers={"authorization": value}).status_code
        for value in (f"Bearer {TOKEN}", f"bearer  {TOKEN} ", f"Basic {TOKEN}", "Bearer x", b"Bearer \xff", "")
    ]
    assert answered == [200, 200, 401, 401, 401, 401]
    assert set(lengths) == {(32, 32)} and len(lengths) == 6
    response = guarded.get("/v1/health")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
