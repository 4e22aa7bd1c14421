"""Rounds about one image, text as it is written, and lists that are longer than the model takes."""

from __future__ import annotations

import numpy as np
import pytest
from conftest_modules import random_assistant
from hypothesis import given
from hypothesis import strategies as st

from lasagna.batch import Query
from lasagna.dialogue import Answer, AnsweredEntry
from lasagna.errors import QueryError, RecordError
from lasagna.modules.long_lists import join_answers, split_query
from lasagna.modules.tiny.weights import packaged_words

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def assistant():
    return random_assistant(3)


def same(one, other):
    assert one.text == other.text
    for mine, theirs in zip(one.entries, other.entries, strict=True):
        assert (mine.name, mine.present, mine.score) == (
            theirs.name,
            theirs.present,
            pytest.approx(theirs.score, abs=1e-4),
        )


def test_all_rounds_share_one_encoding(assistant, monkeypatch):
    encoded = []
    whole = assistant.encode
    monkeypatch.setattr(assistant, "encode", lambda *images: encoded.append(1) or whole(*images))
    chat = assistant.chat(IMAGE)
    first = chat.ask(["sun", "dog", "house"], kind="complex")
    second = chat.ask("the dog", kind="referring")
    third = chat.ask("what is it")
    assert len(encoded) == 1
    assert chat.rounds == [first, second, third]
    assert [entry.name for entry in first.answer.entries] == ["sun", "dog", "house"]
    for entry in first.answer.entries:
        assert entry.present == (entry.mask is not None)
        assert 0 <= entry.confidence <= 1
        assert entry.mask is None or entry.mask.shape == (40, 50)
    same(first.answer, assistant.answer(IMAGE, ["sun", "dog", "house"]))
    same(second.answer, assistant.answer(IMAGE, ["the dog"], kind="referring"))


def test_pieces_of_a_stream_are_the_answer(assistant):
    chat = assistant.chat(IMAGE)
    pieces = list(chat.stream("what is it"))
    assert len(pieces) > 1
    assert "".join(pieces) == assistant.answer(IMAGE, ["what is it"], kind="question").text
    assert chat.rounds[-1].answer.text == "".join(pieces)


def test_bad_rounds_leave_the_talk_as_it_was(assistant):
    chat = assistant.chat(IMAGE)
    for text, kind in (("", "question"), ([], "complex"), (["a", "A"], "complex"), ("sun", "kind")):
        with pytest.raises(QueryError):
            chat.ask(text, kind=kind)
    assert chat.rounds == []
    with pytest.raises(RecordError):
        assistant.chat("picture.png")


@given(st.integers(1, 60), st.integers(1, 20))
def test_parts_fit_keep_the_order_and_are_few(count, room):
    query = Query(2, "complex", tuple(f"n{rank}" for rank in range(count)))
    parts = split_query(query, lambda part: len(part.names) <= room)
    assert tuple(name for part in parts for name in part.names) == query.names
    assert all(0 < len(part.names) <= room and part.image == 2 for part in parts)
    assert len(parts) == -(-count // room)
    assert max(len(part.names) for part in parts) - min(len(part.names) for part in parts) <= 1


def test_what_cannot_be_split_is_left():
    for query in (Query(0, "referring", ("a long phrase",)), Query(0, "complex", ("a", "b"))):
        assert split_query(query, lambda part: False) == [query]


def test_answers_are_joined_in_order():
    one = Answer("a", (AnsweredEntry("a", False, 0.1),), ("x",))
    two = Answer("b", (AnsweredEntry("b", False, 0.2),), ("y",))
    assert join_answers([one, two]) == Answer("a\nb", one.entries + two.entries, ("x", "y"))
    assert join_answers([one]) is one


@pytest.mark.parametrize("decoding", ["ordered", "free"])
def test_a_list_longer_than_the_model_takes_is_asked_in_parts(assistant, decoding):
    names = packaged_words()[10:150]
    short = names[:3]
    queries = [Query(0, "complex", short), Query(0, "complex", names)]
    first, long = assistant.answers(IMAGE, queries, decoding)
    same(first, assistant.answer(IMAGE, short, decoding=decoding))
    parts = split_query(queries[1], assistant.decoder.fits)
    assert len(parts) > 1
    if decoding == "ordered":
        assert [entry.name for entry in long.entries] == list(names)
    same(long, join_answers([assistant.answer(IMAGE, part.names, decoding=decoding) for part in parts]))


def test_one_phrase_that_is_too_long_is_an_error(assistant):
    with pytest.raises(QueryError, match="the language model takes 256"):
        assistant.answer(IMAGE, [" ".join(packaged_words()[:300])], kind="referring")
