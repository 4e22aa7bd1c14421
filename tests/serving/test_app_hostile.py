"""Requests that are broken or made to break: each is refused in words that say nothing of the machine."""

import base64
import json
import random
import zlib
from struct import pack
from tempfile import SpooledTemporaryFile

import pytest

import lasagna
from tests.helpers.served import GOOD, need_server, picture, served

need_server()

JSON_TYPE = {"content-type": "application/json"}
TELLTALE = ("Traceback", "site-packages", ".py", "/tmp", "/home", "/work", "torch", "pydantic", "PIL", "0x")
STRANGE = (None, True, -1, 0, 1e308, 10**30, "", " ", "\0", "a" * 5000, "<SEG>", "\u202e", "😀", [], [[]], {}, [None])
PATHS = ("/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/", "http://localhost:1/", "../../x", "\\\\a\\b")
TEXTS = ("[" * 100_000, '{"a":' * 50_000, "1" * 100_000, "NaN", '"\\ud800"', "\ufeff{}", "", '{"image": "\\ud800"}')
TYPES = ("", "text/plain", "multipart/form-data", "multipart/form-data; boundary=", "application/json; charset=zip")
HEADS = ({"content-length": "-1"}, {"content-length": "9" * 30}, {"host": "evil.example"}, {"host": "[::1"})


@pytest.fixture(scope="module")
def assistant():
    return lasagna.load()


@pytest.fixture(scope="module")
def client(assistant):
    with served(assistant, pixels=1_000_000, seconds=20, body=2_000_000) as client:
        yield client


def mutated(data, rng):
    """Change, cut or repeat some bytes."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(data))
        data[place] = rng.randrange(256)
    start, end = sorted(rng.choices(range(len(data)), k=2))
    return bytes(rng.choice((data, data[:start], data[:start] + data[end:], data + data[start:end])))


def changed(value, rng):
    """Replace a part of a JSON value by something strange."""
    if rng.random() < 0.3 or not isinstance(value, dict | list) or not value:
        return rng.choice(STRANGE)
    if isinstance(value, dict):
        key = rng.choice(list(value))
        other = {name: part for name, part in value.items() if name != key or rng.random() < 0.9}
        return {**other, rng.choice((key, key, key, "x" * 300)): changed(value[key], rng)}
    place = rng.randrange(len(value))
    return [*value[:place], changed(value[place], rng), *value[place + 1 :]]


def form(boundary, parts):
    lines = [
        b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (boundary, head, body) for head, body in parts
    ]
    return b"".join(lines) + b"--%s--\r\n" % boundary


def chunk(kind, data):
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


def bombs():
    """Yield image files that claim or unpack to more than they should."""
    signature = b"\x89PNG\r\n\x1a\n"
    for size in ((100_000, 100_000), (2**31 - 1, 2**31 - 1), (0, 5), (1001, 1000), (1, 1_000_000)):
        header = chunk(b"IHDR", pack(">IIBBBBB", *size, 8, 0, 0, 0, 0))
        yield signature + header + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b" * 70_000_000))
    yield signature + chunk(b"IHDR", pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + text + chunk(b"IEND", b"")
    yield b"GIF89a" + pack("<HH", 65535, 65535) + b"\x80\0\0" + b"\0" * 6 + b"," + b"\0" * 200
    yield b"P6 99999999 99999999 255\n"
    yield b"BM" + pack("<IHHI", 100, 0, 0, 54) + pack("<IiiHHIIiiII", 40, -5, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
    yield b"II*\0" + b"\xff" * 100
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def hostile_requests():
    """Yield method, path and arguments of many requests."""
    rng = random.Random(0)
    good, talk = json.dumps(GOOD).encode(), {"image": GOOD["image"], "question": "what", "history": []}
    files = [picture(20, 30, kind) for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")]
    small, query = base64.b64encode(files[0]).decode(), {"kind": "categories", "names": ["a", "b"], "threshold": 0.5}
    for _ in range(165):
        yield "POST", "/v1/predict", {"json": {"image": small, "queries": [changed(query, rng)]}}
        yield "POST", "/v1/predict", {"content": mutated(good, rng), "headers": JSON_TYPE}
        yield "POST", "/v1/predict", {"content": json.dumps(changed(GOOD, rng)), "headers": JSON_TYPE}
        yield "POST", "/v1/chat", {"content": json.dumps(changed(talk, rng)), "headers": JSON_TYPE}
        yield "POST", "/v1/images", {"files": {"image": mutated(rng.choice(files), rng)}}
        names = b'name="image"; filename="../../etc/passwd"', b'name="queries"', b'name="stream"', b'name="\xff"'
        parts = [(rng.choice(names), rng.choice((files[0], b"[]", b"\xff\0", b"[" * 999, b"1e999"))) for _ in range(2)]
        kind = f"multipart/form-data; boundary=x{rng.choice(('', '; charset=zip', '; charset=utf-7'))}"
        body = rng.choice((form(b"x", parts), mutated(form(b"x", parts), rng)))
        yield "POST", "/v1/predict", {"content": body, "headers": {"content-type": kind}}
    for data in bombs():
        yield "POST", "/v1/images", {"files": {"image": data}}
    for path in PATHS:
        yield "POST", "/v1/predict", {"json": {**GOOD, "image": path}}
        yield "POST", "/v1/predict", {"json": {"image_id": path, "queries": GOOD["queries"]}}
        yield "DELETE", f"/v1/images/{path}", {}
    for text in TEXTS:
        yield "POST", "/v1/predict", {"content": text.encode(), "headers": JSON_TYPE}
    for kind in TYPES:
        yield "POST", "/v1/predict", {"content": b"{}", "headers": {"content-type": kind}}
    for method in ("GET", "PUT", "PATCH", "TRACE", "OPTIONS", "HEAD"):
        yield method, "/v1/predict", {}
    for path in ("/", "/docs", "/v1/images/..%2f..%2fetc%2fpasswd", "/v1/%00", "/" + "a" * 9000, "/v1/predict/"):
        yield "GET", path, {}
    for head in HEADS:
        yield "POST", "/v1/predict", {"content": good, "headers": {**JSON_TYPE, **head}}


def test_hostile_requests_are_refused_and_the_next_good_one_is_answered(client, monkeypatch):
    monkeypatch.setattr(SpooledTemporaryFile, "rollover", lambda _: pytest.fail("an upload touched the disk"))
    expected = client.post("/v1/predict", json=GOOD).json()
    count, refused = 0, 0
    for method, path, arguments in hostile_requests():
        response = client.request(method, path, **arguments)
        about = (method, path[:80], str(arguments)[:300], response.text[:300])
        assert response.status_code < 500, about
        if response.status_code >= 400:
            refused += 1
            assert method == "HEAD" or (set(response.json()) == {"error"} and len(response.text) < 2000), about
            assert not any(word in response.text for word in TELLTALE), about
        count += 1
    assert count > 1000 and refused > 0.8 * count
    assert client.post("/v1/predict", json=GOOD).json() == expected
    large = picture(700, 900, "BMP")
    assert len(large) > 1_500_000
    assert client.post("/v1/images", files={"image": large}).status_code == 201


def test_a_token_that_is_wrong_opens_nothing(assistant):
    token = "a-token-of-some-length"
    with served(assistant, token=token, host="0.0.0.0", running=False) as closed:
        for given in ("", token, "Bearer", f"Bearer {token}x"):
            for path in ("/v1/models", "/v1/metrics", "/v1/openapi.json", "/nowhere"):
                assert closed.get(path, headers={"authorization": given}).status_code == 401
        assert closed.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert closed.get("/v1/health").status_code == 503


def test_images_of_one_row_and_of_one_pixel_are_answered(client):
    for height, width in ((1, 1), (1, 900), (900, 1)):
        image = base64.b64encode(picture(height, width)).decode()
        response = client.post("/v1/predict", json={**GOOD, "image": image, "masks": "polygons"})
        assert response.status_code == 200, response.text
