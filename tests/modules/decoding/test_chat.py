"""Conversations about one image, text as it is written, and lists that are longer than the model takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Query
from lasagna.errors import QueryError, RecordError
from lasagna.modules.decoding.long_lists import join_answers, split_query
from lasagna.modules.tiny.weights import packaged_words
from tests.helpers.assistants import dictate, plain_logits, random_assistant

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


def test_all_turns_share_one_encoding(assistant, monkeypatch):
    encoded = []
    whole = assistant.encode
    monkeypatch.setattr(assistant, "encode", lambda *images: encoded.append(1) or whole(*images))
    chat = assistant.chat(IMAGE)
    first = chat.ask(["sun", "dog", "house"], kind="categories")
    second = chat.ask("the dog", kind="referring")
    third = chat.ask("what is it")
    assert len(encoded) == 1
    assert chat.turns == [first, second, third]
    assert [entry.name for entry in first.answer.entries] == ["sun", "dog", "house"]
    for entry in first.answer.entries:
        assert entry.present == (entry.mask is not None)
        assert 0 <= entry.confidence <= 1
        assert entry.mask is None or entry.mask.shape == (40, 50)
    same(first.answer, assistant.answer(IMAGE, ["sun", "dog", "house"]))
    same(second.answer, assistant.answer(IMAGE, ["the dog"], kind="referring"))


TURNS = [
    ("what is it", "question", "ordered"),
    (["sun", "dog", "house", "tree"], "categories", "ordered"),
    ("the dog", "referring", "free"),
    (["house", "sun", "tree"], "instances_by_token", "ordered"),
    ("the picture", "grounded_caption", "ordered"),
    ("how many", "question", "ordered"),
    ("what one could live in", "reasoning", "ordered"),
]


def turns_of(assistant):
    """Return the turns for which the prompt format has a prompt."""
    return [turn for turn in TURNS if turn[1] in assistant.format.prompts]


def conversation(assistant, forget=False):
    """Return a conversation that is remembered, after its last turn."""
    chat = assistant.chat(IMAGE, remember=True)
    for text, kind, decoding in turns_of(assistant):
        chat.ask(text, kind, decoding)
        if forget:
            chat.history._cached = None
    return chat


@pytest.mark.parametrize("prompt_format", ["paper", "released", "lisa"])
def test_what_is_remembered_is_as_if_all_were_read_again(prompt_format):
    assistant = random_assistant(3, prompt_format, max_length=2048)
    cached, read_again = conversation(assistant), conversation(assistant, forget=True)
    assert cached.history.ids == read_again.history.ids
    for one, other in zip(cached.turns, read_again.turns, strict=True):
        same(one.answer, other.answer)
        assert one.answer.faults == other.answer.faults
    ways = turns_of(assistant)
    alone = [assistant.answer(IMAGE, r.names, r.kind, way) for r, (*_, way) in zip(cached.turns, ways, strict=True)]
    assert [one.answer.text for one in cached.turns] != [one.text for one in alone]


def test_remembered_turns_are_decoded_greedily_after_the_complete_text():
    assistant = random_assistant(3, "paper")
    text, model = assistant.processors.text, assistant.language_model
    chat = assistant.chat(IMAGE, remember=True)
    vectors = chat.encoded.image_vectors[0]
    tokens = []
    for asked, names in (("what is it", None), ("the picture", ["sun", "dog", "house", "tree"]), ("what else", None)):
        opening = "USER: <image>\n" if not tokens else "USER: "
        read = text.prompt_ids if not tokens else text.answer_ids
        if names is None:
            tokens += read(f"{opening}{asked} ASSISTANT: ")
            answer, written = chat.ask(asked).answer, []
            while len(written) < 64 and written[-1:] != [text.end_token_id]:
                logits = plain_logits(model, tokens + written, vectors)
                logits[model.image_token_id] = -torch.inf
                written.append(int(logits.argmax()))
            assert answer.text == text.text(written)
        else:
            tokens += read(f"{opening}Please segment the following categories: {', '.join(names)}. ASSISTANT: ")
            answer, written = chat.ask(names, "categories").answer, []
            for rank, entry in enumerate(answer.entries):
                written += text.answer_ids(assistant.format.lead("categories", names[rank], rank == 0))
                logits = plain_logits(model, tokens + written, vectors)
                present, absent = (text.answer_ids(token)[0] for token in ("<SEG>", "<NEG>"))
                assert entry.present == bool(logits[present] >= logits[absent])
                written.append(present if entry.present else absent)
            written += text.answer_ids(".")
        tokens += written if written[-1] == text.end_token_id else [*written, text.end_token_id]
        assert chat.history.ids == tokens


def test_a_turn_reads_nothing_again(monkeypatch):
    assistant = random_assistant(3, "paper")
    chat, read = assistant.chat(IMAGE, remember=True), []
    whole = type(assistant.language_model).forward
    monkeypatch.setattr(
        type(assistant.language_model),
        "forward",
        lambda self, words, *rest: read.append(words.shape[1]) or whole(self, words, *rest),
    )
    chat.ask(["sun", "dog"], "categories")
    before = len(chat.history.ids)
    read.clear()
    chat.ask("the dog", "referring")
    prompt = assistant.processors.text.further_ids(assistant.format.further_prompt("referring", ["the dog"]))
    # an answer is read up to its last decision, so that this one and the point behind it are new too
    assert read[0] <= len(prompt) + 2 < before


def test_a_stream_that_is_not_read_to_its_end_is_no_turn():
    assistant = random_assistant(3, "paper")
    chat = assistant.chat(IMAGE, remember=True)
    chat.ask(["sun", "dog"], "categories")
    said = list(chat.history.ids)
    next(chat.stream("what is it"))
    assert chat.history.ids == said and len(chat.turns) == 1
    pieces = list(chat.stream("what is it"))
    other = assistant.chat(IMAGE, remember=True)
    other.ask(["sun", "dog"], "categories")
    assert other.ask("what is it").answer.text == "".join(pieces) == chat.turns[-1].answer.text
    assert other.history.ids == chat.history.ids


def test_a_conversation_that_grows_too_long_is_refused_and_can_continue():
    assistant = random_assistant(3, "paper")
    chat = assistant.chat(IMAGE, remember=True)
    chat.ask(packaged_words()[10:20], "categories")
    with pytest.raises(QueryError, match="begin a new conversation"):
        chat.ask(packaged_words()[20:70], "categories")
    chat.ask(["sun", "dog"], "categories")
    assert [len(one.names) for one in chat.turns] == [10, 2]


def test_a_format_without_further_turns_cannot_remember(assistant):
    with pytest.raises(QueryError, match="has no `next_turn`"):
        assistant.chat(IMAGE, remember=True)


def test_pieces_of_a_stream_are_the_answer(assistant):
    chat = assistant.chat(IMAGE)
    pieces = list(chat.stream("what is it"))
    assert len(pieces) > 1 and all(pieces)
    assert "".join(pieces) == assistant.answer(IMAGE, ["what is it"], kind="question").text
    assert chat.turns[-1].answer.text == "".join(pieces)


def test_a_stream_has_no_empty_pieces(monkeypatch):
    """The end token is no text."""
    assistant = random_assistant(3)
    dictate(monkeypatch, assistant.language_model, assistant.processors.text.answer_ids("blue sky"))
    assert list(assistant.chat(IMAGE).stream("what is it")) == ["blue", " sky"]


def test_bad_queries_leave_the_conversation_as_it_was(assistant):
    chat = assistant.chat(IMAGE)
    for text, kind in (("", "question"), ([], "categories"), (["a", "A"], "categories"), ("sun", "kind")):
        with pytest.raises(QueryError):
            chat.ask(text, kind=kind)
    assert chat.turns == []
    with pytest.raises(RecordError):
        assistant.chat("picture.png")


@given(st.integers(1, 60), st.integers(1, 20))
def test_parts_fit_keep_the_order_and_are_few(count, room):
    query = Query(2, "categories", tuple(f"n{rank}" for rank in range(count)))
    parts = split_query(query, lambda part: len(part.names) <= room)
    assert tuple(name for part in parts for name in part.names) == query.names
    assert all(0 < len(part.names) <= room and part.image == 2 for part in parts)
    assert len(parts) == -(-count // room)
    assert max(len(part.names) for part in parts) - min(len(part.names) for part in parts) <= 1


def test_what_cannot_be_split_is_left():
    for query in (Query(0, "referring", ("a long phrase",)), Query(0, "categories", ("a", "b"))):
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
    queries = [Query(0, "categories", short), Query(0, "categories", names)]
    first, long = assistant.answers(IMAGE, queries, decoding)
    same(first, assistant.answer(IMAGE, short, decoding=decoding))
    parts = split_query(queries[1], assistant.decoder.fits)
    assert len(parts) > 1
    if decoding == "ordered":
        assert [entry.name for entry in long.entries] == list(names)
    same(long, join_answers([assistant.answer(IMAGE, part.names, decoding=decoding) for part in parts]))


def test_a_list_longer_than_those_of_the_training_is_asked_in_parts(assistant, monkeypatch):
    names = packaged_words()[10:18]
    parts = [assistant.answer(IMAGE, part) for part in (names[:2], names[2:5], names[5:])]
    monkeypatch.setattr(assistant, "longest_list", 3)
    same(assistant.answer(IMAGE, names), join_answers(parts))


def test_one_phrase_that_is_too_long_is_an_error(assistant):
    with pytest.raises(QueryError, match="the language model takes 256"):
        assistant.answer(IMAGE, [" ".join(packaged_words()[:300])], kind="referring")
