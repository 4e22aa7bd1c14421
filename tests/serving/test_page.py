"""The page at ``/``: how to get it, and, where Gradio is installed, what a reader sees in a browser."""

from base64 import b64decode
from io import BytesIO
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from tests.helpers.browser import need_chromium, opened
from tests.helpers.page_tour import ask_for_names, page_served, talk
from tests.helpers.served import need_server

need_server()

from lasagna.serving import page  # noqa: E402
from lasagna.serving.kept_images import KeptImages  # noqa: E402
from lasagna.serving.limits import Limits  # noqa: E402


def test_without_gradio_one_line_says_how_to_get_the_page(monkeypatch):
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    monkeypatch.setattr(page, "find_spec", lambda name: None)
    app = FastAPI()
    page.add_page(app, SimpleNamespace(kept=KeptImages(Limits())))
    answer = TestClient(app).get("/")
    assert answer.status_code == 200
    assert 'pip install "lasagna[page]"' in answer.json()["page"]
    assert "/" not in app.openapi()["paths"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Address of a server with the page, whose folder for files that are uploaded is empty in the end."""
    pytest.importorskip("gradio", reason="the page needs the extra `page`")
    need_chromium()
    uploads = tmp_path_factory.mktemp("uploads")
    with page_served(uploads) as address:
        yield address
    assert [path for path in uploads.rglob("*") if path.is_file()] == []


def set_slider(tab, value):
    """Move the slider to a value, as a reader does."""
    tab.run(
        "(() => { const slider = document.querySelector('#cut input[type=range]');"
        f"slider.value = {value}; slider.dispatchEvent(new Event('input', {{bubbles: true}}));"
        "slider.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def masked(tab):
    """Return the share of the picture that masks cover on the page."""
    code = tab.run("document.querySelector('#overlay img').src").partition(",")[2]
    return float((np.asarray(Image.open(BytesIO(b64decode(code))))[..., 3] > 0).mean())


@pytest.mark.slow
def test_a_reader_drops_a_picture_asks_moves_the_threshold_and_talks(address, tmp_path):
    with opened(address, tmp_path / "profile", size=(1200, 1000)) as tab:
        ask_for_names(tab)
        assert tab.run("[...document.querySelectorAll('#legend s')].map((one) => one.innerText).join()") == "dog"
        boxes = "['#picture img', '#overlay img'].map((one) => document.querySelector(one).getBoundingClientRect())"
        shown, over = tab.run(f"{boxes}.map((one) => [one.x, one.y, one.width, one.height])")
        assert shown == over
        before, usual = asked(address), masked(tab)
        set_slider(tab, 0)
        tab.wait("document.querySelectorAll('#legend s').length == 0")
        assert masked(tab) >= usual > 0.3
        set_slider(tab, 0.5)
        tab.wait("document.querySelectorAll('#legend s').length == 1")
        assert (masked(tab), asked(address)) == (usual, before)
        names = "[...document.querySelectorAll('#files a')].map((one) => one.download).join()"
        assert tab.run(names) == "answer.json,labels.png,coco.json"
        talk(tab)
        assert [one for one in tab.addresses if not one.startswith((address, "data:", "blob:"))] == []
        assert [one for one in tab.log if "exceptionDetails" in one or "Content Security" in str(one)] == []
        assert np.asarray(Image.open(BytesIO(tab.screenshot()))).shape[:2] == (1000, 1200)


@pytest.mark.slow
def test_a_refusal_is_said_on_the_page_and_the_next_question_is_answered(address, tmp_path):
    with opened(address, tmp_path / "profile") as tab:
        tab.wait("!!document.querySelector('#ask')")
        tab.run("document.querySelector('#ask').click()")
        tab.wait("/drop one here/.test(document.body.innerText)")
        ask_for_names(tab)
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"no picture")
        tab.choose("#picture input", broken)
        tab.wait("/not an image that can be read/.test(document.body.innerText)")
        assert tab.run("document.querySelector('#overlay img') === null")
        tab.run("document.querySelector('#ask').click()")
        tab.wait("(document.body.innerText.match(/drop one here/g) || []).length == 2")


def asked(address):
    """Return how many batches the assistant has answered."""
    with urlopen(f"{address}v1/metrics") as answer:
        [line] = [one for one in answer.read().decode().splitlines() if one.startswith("lasagna_batch_requests_count")]
    return line
