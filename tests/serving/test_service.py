"""Places of requests come back, and errors of an answer that is being streamed say nothing of the machine."""

import asyncio

import pytest

from lasagna.errors import QueryError
from tests.helpers.assistants import random_assistant
from tests.helpers.served import GOOD, need_server, served

need_server()

from lasagna.serving.limits import RequestError  # noqa: E402
from lasagna.serving.service import events  # noqa: E402


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (QueryError("query: too long"), "query: too long"),
        (RequestError(408, "answer: late"), "answer: late"),
        (RuntimeError("/home/me/model.ckpt"), "server: the answer could not be finished"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(error, words):
    async def pieces():
        yield "blue"
        raise error

    async def read():
        return [event async for event in events(pieces())]

    first, last = asyncio.run(read())
    assert first == 'data: {"text": "blue"}\n\n'
    assert last == f'event: error\ndata: {{"error": "{words}"}}\n\n'


def test_every_request_gives_its_place_back():
    talk = {"image": GOOD["image"], "question": "what is there"}
    with served(random_assistant(max_length=128), requests=2) as client:
        for _ in range(3):
            bodies = (talk, {**talk, "stream": True}, {**talk, "question": "what " * 199}, {**talk, "image": "x"}, {})
            statuses = [client.post("/v1/chat", json=body).status_code for body in bodies]
            assert statuses == [200, 200, 422, 422, 422]
            assert client.post("/v1/predict", json={**GOOD, "queries": []}).status_code == 422
        assert client.post("/v1/predict", json=GOOD).status_code == 200


def test_conversations_that_nobody_waits_for_give_their_places_back():
    talk = {"image": GOOD["image"], "question": "what is there"}
    assistant = random_assistant()
    assistant.max_new_tokens = 2
    with served(assistant, running=False, requests=2, seconds=0.4) as client:
        assert [client.post("/v1/chat", json=talk).status_code for _ in range(3)] == [408, 408, 503]
        with client:
            assert client.post("/v1/chat", json=talk).status_code == 200
