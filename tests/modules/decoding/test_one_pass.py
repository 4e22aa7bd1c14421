"""Answers in one pass are the presence head's decisions, with masks from the answer that is written from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lasagna.core.batch import Query
from lasagna.errors import QueryError
from lasagna.modules.decoding.cache import CachedPrompts, ChatHistory
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.one_pass import decode_one_pass
from lasagna.modules.tiny.weights import packaged_words
from tests.helpers.assistants import check_one_pass, presence_head, random_assistant

NAMES = packaged_words()[10:30]
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
QUERIES = [
    Query(0, "categories", tuple(NAMES[:9])),
    Query(2, "categories", tuple(NAMES[9:11])),
    Query(1, "referring", (f"{NAMES[3]} {NAMES[4]}",)),
    Query(1, "instances", tuple(NAMES[4:12])),
    Query(0, "categories", tuple(NAMES[2:8]), wording=1),
]


def decoder_of(prompt_format="tiny", seed=0, **settings):
    assistant = random_assistant(seed, prompt_format)
    # a second wording of lists, with more text behind the names
    further = {"categories": (assistant.format.prompts["categories"] + f" {NAMES[15]} {NAMES[16]} ",)}
    wordings = replace(assistant.format, further_prompts=further)
    return Decoder(assistant.language_model, wordings, presence_head=presence_head(128, seed), **settings)


def vectors_of(seed=0):
    return torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prompt_format", ["tiny", "paper"])
def test_decisions_and_states_are_those_of_plain_forwards(prompt_format):
    """In one batch: lists of unequal lengths, and a phrase, whose token the prompt itself may predict."""
    decoder, vectors = decoder_of(prompt_format, temperature=2.0), vectors_of()
    scores = torch.cat([answer.scores for answer in decoder.decode(vectors, QUERIES, "one_pass")])
    decoder.threshold = float(scores.median())
    decoded = decoder.decode(vectors, QUERIES, "one_pass")
    for query, answer in zip(QUERIES, decoded, strict=True):
        check_one_pass(decoder, vectors, query, answer)
    assert {True, False} == {there for answer in decoded for there in answer.present}
    assert {answer.forwards for answer in decoded} == {2}


def test_an_answer_is_read_up_to_its_last_present_token(monkeypatch):
    decoder, vectors = decoder_of(), vectors_of()
    read, whole = [], CachedPrompts.read
    monkeypatch.setattr(CachedPrompts, "read", lambda self, tails: read.append(tails) or whole(self, tails))
    [first] = decoder.decode(vectors, QUERIES[:1], "one_pass")
    decoder.threshold = float(first.scores[-1] + first.scores.max()) / 2
    read.clear()
    [answer] = decoder.decode(vectors, QUERIES[:1], "one_pass")
    last = max(place for place, there in enumerate(answer.present) if there)
    assert last < len(answer.present) - 1
    assert read == [[decoder.text.answer_ids(answer.text)[: 2 * last + 1]]]
    [own] = decoder.decode(vectors, [replace(QUERIES[0], thresholds=(None,) * 8 + (0.0,))], "one_pass")
    assert own.present == (*answer.present[:-1], True)
    read[1:], decoder.threshold = [], 1.1
    [nothing] = decoder.decode(vectors, QUERIES[:1], "one_pass")
    assert (nothing.forwards, any(nothing.present), len(read)) == (1, False, 1)
    decoder.threshold = 0.0
    [phrase] = decoder.decode(vectors, QUERIES[2:3], "one_pass")
    assert (phrase.text, phrase.forwards, len(read)) == ("<SEG>", 1, 1)


def test_turns_of_a_conversation_are_decided_on_too():
    """As if everything before were read again; the answers of the turns stay in the cache."""
    decoder, vectors = decoder_of(), vectors_of()
    decoder.format = replace(decoder.format, next_turn="")
    histories = [ChatHistory(), ChatHistory()]
    for query in (QUERIES[0], replace(QUERIES[2], image=0), Query(0, "categories", tuple(NAMES[5:9]))):
        one, other = (decode_one_pass(decoder, vectors, [query], history)[0] for history in histories)
        torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.hidden, other.hidden, atol=1e-3, rtol=1e-2)
        assert histories[0].ids[-1] == decoder.text.end_token_id
        histories[1]._cached = None
    again = (
        decoder.decode(vectors, [QUERIES[0]], history=histories[0]),
        decoder.decode(vectors, [QUERIES[0]], history=histories[1]),
    )
    torch.testing.assert_close(again[0][0].scores, again[1][0].scores, atol=1e-4, rtol=1e-4)


def test_an_assistant_answers_in_one_pass():
    assistant = random_assistant()
    names = list(NAMES[:8])
    with pytest.raises(QueryError, match=r"^decoding: 'one_pass' takes .* `--model.assistant.presence_head lasagna"):
        assistant.answer(IMAGE, names, decoding="one_pass")
    assistant.presence_head = presence_head(128)
    answer = assistant.answer(IMAGE, names, decoding="one_pass")
    assert [entry.name for entry in answer.entries] == names
    assert {entry.present for entry in answer.entries} == {True, False}
    assert all(entry.present == (entry.mask is not None) == (entry.score >= 0.5) for entry in answer.entries)
    turn = assistant.chat(IMAGE).ask(names, "categories", "one_pass")
    assert turn.answer.text == answer.text
    assistant.presence_threshold = 0.0
    assert all(entry.present for entry in assistant.answer(IMAGE, names, decoding="one_pass").entries)
    [asked] = assistant.answers(IMAGE, [Query(0, "question", ("what is it",))], "one_pass")
    assert asked == assistant.answer(IMAGE, ["what is it"], "question", "free")
    with pytest.raises(QueryError, match=r"^decoding: 'one_pass' decides which names are present, and not how many"):
        assistant.answer(IMAGE, names, "instances_by_token", "one_pass")


def test_lists_that_are_too_long_are_split():
    assistant = random_assistant(max_length=40)
    assistant.presence_head = presence_head(128)
    answer = assistant.answer(IMAGE, list(NAMES), decoding="one_pass")
    assert [entry.name for entry in answer.entries] == list(NAMES)
    assert "\n" in answer.text
