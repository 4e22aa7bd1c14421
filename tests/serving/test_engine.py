"""The engine: what waits is answered together, with the answers that each gets alone; nobody fails for another."""

from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.batch import Query
from lasagna.core.record import Turn
from lasagna.errors import QueryError
from tests.helpers.assistants import random_assistant
from tests.helpers.served import need_server

need_server()

from lasagna.serving.engine import Engine  # noqa: E402
from lasagna.serving.jobs import AskedQuery, Conversation, Job  # noqa: E402
from lasagna.serving.limits import Limits, RequestError  # noqa: E402
from lasagna.serving.metrics import Metrics  # noqa: E402

NAMES = (("sky", "dog", "sun"), ("house",), ("tree", "kite"), ("ball", "moon", "bird", "star"))


def make_assistant():
    """Return an assistant whose answers are read as the tokens that it wrote, which is not so for any text."""
    assistant = random_assistant(seed=4, prompt_format="lisa")
    assistant.max_new_tokens = 8
    return assistant


@pytest.fixture(scope="module")
def assistant():
    return make_assistant()


@pytest.fixture
def engine(assistant):
    engine = Engine(assistant, Limits(requests=8, batch=4, mask_pixels=100_000), Metrics())
    yield engine
    if engine.alive:
        engine.stop()


def images(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + 8 * rank, 60, 3), dtype=np.uint8) for rank in range(count)]


def batches(engine):
    [line] = [line for line in engine.metrics.text().splitlines() if line.startswith("lasagna_batch_requests_count")]
    return float(line.split()[1])


def test_jobs_that_wait_are_answered_together_as_they_are_alone(engine, assistant):
    pictures = images(4)
    asked = [[AskedQuery(Query(0, "categories", names))] for names in NAMES]
    asked[1].append(AskedQuery(Query(0, "question", ("what is there",))))
    asked[2] = [replace(asked[2][0], threshold=0.9)]
    jobs = [Job(engine.prepare(image), queries) for image, queries in zip(pictures, asked, strict=True)]
    for job in jobs:
        engine.submit(job)
    engine.start()
    found = [job.future.result(timeout=60) for job in jobs]
    assert batches(engine) == 1
    for image, queries, result in zip(pictures, asked, found, strict=True):
        for one, answer in zip(queries, result.answers, strict=True):
            alone = make_assistant()
            alone.presence_threshold = one.threshold or 0.5
            [expected] = alone.answers(image, [one.query])
            assert answer["text"] == expected.text
            assert [entry["score"] for entry in answer["entries"]] == pytest.approx(
                [entry.score for entry in expected.entries], abs=1e-4
            )
    again = Job(found[0].image, asked[0])
    engine.submit(again)
    assert again.future.result(timeout=60).answers[0]["text"] == found[0].answers[0]["text"]


def test_a_job_that_fails_takes_no_other_with_it(engine):
    picture = engine.prepare(images(1)[0])
    names = tuple(f"thing number {rank} of many" for rank in range(3))
    good = Job(picture, [AskedQuery(Query(0, "categories", ("sky",)))])
    long = Job(picture, [AskedQuery(Query(0, "referring", (" ".join(names * 90),)))])
    talk = Conversation(picture, question="what", turns=[Turn("who", "<image>")])
    for job in (good, long, talk):
        engine.submit(job)
    engine.start()
    assert good.future.result(timeout=60).answers
    for job in (long, talk):
        with pytest.raises(QueryError):
            job.future.result(timeout=60)


def test_masks_of_a_batch_stay_within_the_memory_and_cancelled_jobs_are_passed_over(engine):
    picture = engine.prepare(images(1)[0])
    names = tuple(f"name{rank}" for rank in range(25))
    jobs = [Job(picture, [AskedQuery(Query(0, "categories", names))]) for _ in range(4)]
    assert jobs[0].mask_pixels == 60_000
    assert Job(picture, [AskedQuery(Query(0, "instances", names))]).mask_pixels == 8 * 60_000
    for job in jobs:
        engine.submit(job)
    jobs[2].future.cancel()
    engine.start()
    assert all(len(job.future.result(timeout=60).answers) == 1 for job in jobs if not job.future.cancelled())
    assert batches(engine) == 3
    assert [job.future.cancelled() for job in jobs] == [False, False, True, False]


def test_too_many_jobs_are_refused(engine):
    picture = engine.prepare(images(1)[0])
    for _ in range(8):
        engine.submit(Job(picture))
    with pytest.raises(RequestError, match="try again") as refused:
        engine.submit(Job(picture))
    assert refused.value.headers == {"Retry-After": "1"}
    engine.start()


def test_a_conversation_goes_on_as_one_that_was_had_here(engine, assistant):
    image = images(1)[0]
    chat = make_assistant().chat(image, remember=True)
    questions = ("what is there", "and what else", "where is it")
    turns = [Turn(question, "".join(chat.stream(question))) for question in questions]
    pieces, jobs = [], []
    for count, turn in enumerate(turns):
        jobs.append(Conversation(engine.prepare(image), question=turn.question, turns=turns[:count]))
    jobs[0].emit = pieces.append
    for job in jobs:
        engine.submit(job)
    engine.start()
    texts = [job.future.result(timeout=60).text for job in jobs]
    assert texts[0] == turns[0].answer == "".join(pieces)
    assert texts[1:] == [turn.answer for turn in turns[1:]]
    stopped = Conversation(engine.prepare(image), question="what", stopped=True)
    engine.submit(stopped)
    assert stopped.future.result(timeout=60).text == ""
