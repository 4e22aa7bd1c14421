"""What the page's controls do, without Gradio: asked once, decided anew, and refused in words for its reader."""

import asyncio
import base64

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.batch import Query
from tests.helpers.served import SCENE, need_server

need_server()

from lasagna.serving.engine import Engine  # noqa: E402
from lasagna.serving.limits import Limits, RequestError  # noqa: E402
from lasagna.serving.metrics import Metrics  # noqa: E402
from lasagna.serving.page_desk import DROP_FIRST, Desk  # noqa: E402
from lasagna.serving.service import Service  # noqa: E402

PICTURE = f"data:image/png;base64,{base64.b64encode(SCENE.read_bytes()).decode()}"


@pytest.fixture(scope="module")
def desk():
    limits, metrics = Limits(images=2, names=6), Metrics()
    desk = Desk(Service(Engine(lasagna.load(), limits, metrics), limits, metrics, "scenes"))
    desk.service.engine.start()
    yield desk
    desk.service.engine.stop()


def test_an_answer_is_that_of_python_and_a_threshold_does_not_ask_again(desk):
    async def visit():
        key, size = await desk.keep(PICTURE)
        first = await desk.ask(key, "categories", "sky, dog\n sky", desk.threshold)
        desk.service.engine.submit = None  # whoever asks again fails
        low = await desk.draw(key, 0.0)
        del desk.service.engine.submit
        return size, first, low, [piece async for piece in desk.talk(key, "what colour is the kite")], desk.turns(key)

    size, first, low, words, turns = asyncio.run(visit())
    [expected] = lasagna.load().answers(
        np.asarray(Image.open(SCENE).convert("RGB")), [Query(0, "categories", ("sky", "dog"))]
    )
    assert "96 × 96" in size  # noqa: RUF001
    assert [entry.present for entry in expected.entries] == [True, False]
    assert f"sky<b>{expected.entries[0].score:.3f}</b>" in first.legend and first.legend.count("<s>dog</s>") == 1
    assert "<s>" not in low.legend and low.overlay != first.overlay
    assert [(turn.question, turn.answer) for turn in turns] == [("what colour is the kite", words[-1])]


def test_what_cannot_be_asked_is_refused_and_pictures_go_when_others_need_their_place(desk):
    async def visit():
        keys = [(await desk.keep(PICTURE))[0] for _ in range(3)]
        refusals = {}
        for name, request in {
            "gone": lambda: desk.draw(keys[0], 0.5),
            "path": lambda: desk.keep("/etc/hostname"),
            "text": lambda: desk.keep("data:image/png;base64,AAAA"),
            "none": lambda: desk.ask(keys[2], "categories", " ,\n", 0.5),
            "kind": lambda: desk.ask(keys[2], "question", "why", 0.5),
            "many": lambda: desk.ask(keys[2], "categories", "a,b,c,d", 0.5),
        }.items():
            with pytest.raises(RequestError) as caught:
                await request()
            refusals[name] = (caught.value.status, str(caught.value))
        return refusals

    assert [*desk.kinds] == ["categories", "reasoning", "referring"]
    refusals = asyncio.run(visit())
    assert refusals.pop("gone") == (404, DROP_FIRST)
    assert {status for status, _ in refusals.values()} == {422}
    assert refusals["none"][1] == "names: none given; type at least one"
