"""A query is checked once, wherever it enters, and before anything is computed for it."""

from __future__ import annotations

import numpy as np
import pytest

from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.query_kind import KINDS
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.errors import QueryError
from lasagna.tasks.training.source_scores import answer as answer_in_evaluation

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)


def by_answer(assistant, names, kind, decoding):
    return assistant.answer(IMAGE, names, kind, decoding)


def by_answers(assistant, names, kind, decoding):
    return assistant.answers(IMAGE, [Query(0, kind, tuple(names))], decoding)[0]


def by_evaluation(assistant, names, kind, decoding):
    entries = () if kind == "question" else tuple(Entry(name, False) for name in names)
    dialogue = Dialogue(kind, tuple(names), entries, text="it" if kind == "question" else "")
    sample = prepare_sample(IMAGE, [dialogue], assistant.processors, source="s", key="k", keep_image=False)
    batch = collate([sample], assistant.processors)
    return answer_in_evaluation(assistant, batch, [decoding])[decoding][0]


def by_chat(assistant, names, kind, decoding):
    return assistant.chat(IMAGE).ask(names, kind, decoding).answer


DOORS = {"answer": by_answer, "answers": by_answers, "chat": by_chat, "evaluation": by_evaluation}
BAD = [
    ([], "categories", "ordered", r"^query: it is empty"),
    (["sky", "Sky"], "categories", "ordered", r"^query: \['sky'\] asked more than once"),
    (["a <SEG>"], "categories", "free", r"^query: the name 'a <SEG>' contains"),
    (["dog", "cat"], "referring", "ordered", r"^query: kind 'referring' takes one name, got 2"),
    (["dog"], "anything", "ordered", r"^kind: 'anything' is"),
    (["sun", "dog"], "categories", "teacher_forced", r"^decoding: 'teacher_forced' gives .* categories; use 'ordered'"),
    (["what is it"], "question", "teacher_forced", r"^decoding: 'teacher_forced' gives .* question; use 'ordered'"),
]


@pytest.fixture
def computes_nothing(assistant, monkeypatch):
    """The assistant, whose parts fail the test if they compute anything; a chat has its image encoded at once."""
    encoded = assistant.encode_image(IMAGE)
    for part in (assistant.vision_encoder, assistant.language_model, assistant.mask_head):
        monkeypatch.setattr(part, "forward", lambda *_: pytest.fail("computed"))
    return assistant, lambda: monkeypatch.setattr(assistant, "encode_image", lambda *_: encoded)


@pytest.mark.parametrize(("names", "kind", "decoding", "message"), BAD, ids=range(len(BAD)))
@pytest.mark.parametrize("door", DOORS)
def test_bad_queries_get_the_same_error_before_anything_is_computed(
    computes_nothing, door, names, kind, decoding, message
):
    assistant, encode_beforehand = computes_nothing
    if door == "chat":
        encode_beforehand()
    with pytest.raises(QueryError, match=message) as error:
        DOORS[door](assistant, names, kind, decoding)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("door", [by_answer, by_chat])
def test_an_unknown_kind_is_told_those_with_a_prompt(assistant, door):
    asked = ", ".join(name for name in KINDS if name in assistant.format.prompts)
    assert "reasoning_with_explanation" not in asked
    with pytest.raises(QueryError, match=f"known here; choose one of {asked}, or give your own"):
        door(assistant, ["dog"], "anything", "ordered")


@pytest.mark.parametrize(
    ("names", "kind", "decoding"),
    [
        (["sun", "dog", "house"], "categories", "ordered"),
        (["sun", "dog", "house"], "categories", "free"),
        (["the dog"], "referring", "ordered"),
        (["the dog"], "referring", "teacher_forced"),
        (["what is it"], "question", "ordered"),
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_queries_are_checked_once(assistant, monkeypatch, door, names, kind, decoding):
    check, checked = PromptFormat.check, []
    monkeypatch.setattr(PromptFormat, "check", lambda *args: checked.append(args[1:]) or check(*args))
    DOORS[door](assistant, names, kind, decoding)
    assert checked == [(kind, tuple(names))]


def test_bad_questions_are_refused_before_a_stream_begins(computes_nothing):
    assistant, encode_beforehand = computes_nothing
    encode_beforehand()
    for text, message in (("", "is blank"), ("where is <SEG>", "contains")):
        with pytest.raises(QueryError, match=message):
            next(assistant.chat(IMAGE).stream(text))
