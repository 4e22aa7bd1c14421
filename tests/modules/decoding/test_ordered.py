"""Whatever the presence head drafts, ordered answers are greedy under the grammar; only their cost differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.query_kind import QueryKind
from lasagna.errors import QueryError
from lasagna.modules.decoding.cache import ChatHistory
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.presence_head import check_one_pass
from lasagna.modules.tiny.weights import packaged_words
from tests.helpers.assistants import (
    greedy_tokens,
    greedy_under_grammar,
    presence_head,
    random_assistant,
    token_counts,
)

NAMES = packaged_words()[10:60]
SOME = QueryKind("instances_by_token", many=True, objects=True, tokens=5)
LISTS = [
    Query(0, "categories", NAMES[:7]),
    Query(2, "instances", NAMES[7:10]),
    Query(1, "referring", (f"{NAMES[3]} {NAMES[4]}",)),
    Query(1, "categories", NAMES[20:25], thresholds=(0.0, None, 1.0, 0.2, None)),
]
TOKENS = [Query(0, SOME, NAMES[10:15]), Query(1, SOME, NAMES[1:3])]


def decoder_of(seed, prompt_format="tiny"):
    assistant = random_assistant(seed, prompt_format)
    vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(seed))
    return Decoder(assistant.language_model, assistant.format), vectors


def head_that_says(decisions):
    return lambda states: torch.tensor([20.0 if there else -20.0 for row in decisions for there in row])


def check_same(answers, others):
    for answer, other in zip(answers, others, strict=True):
        assert (answer.text, answer.entries, answer.present) == (other.text, other.entries, other.present)
        torch.testing.assert_close(answer.scores, other.scores, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(answer.hidden, other.hidden, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("queries", [LISTS, TOKENS], ids=["one token a name", "a token an object"])
def test_answers_are_greedy_whatever_the_head_drafts(queries):
    decoder, vectors = decoder_of(1)
    plain = decoder.decode(vectors, queries)
    for query, answer in zip(queries, plain, strict=True):
        if query.kind.tokens:
            assert token_counts(answer) == greedy_tokens(decoder.model, decoder.format, vectors, query)
        elif not query.thresholds:
            assert answer.present == greedy_under_grammar(decoder.model, decoder.format, vectors, query)
    found = [[entry.present for entry in answer.entries] for answer in plain]
    assert {True, False} == {there for row in found for there in row}
    passes = {}
    for draft, head in {
        "right": head_that_says(found),
        "wrong": head_that_says([[not there for there in row] for row in found]),
        "random": presence_head(128),
    }.items():
        decoder.presence_head = head
        answers = decoder.decode(vectors, queries)
        check_same(answers, plain)
        [passes[draft]] = {answer.forwards for answer in answers}
    # the prompt, and the answer; numbers of tokens that are not those of the draft take one more pass
    assert passes["right"] == (3 if queries is TOKENS else 2) < passes["wrong"]


def test_the_passes_are_those_of_the_language_model():
    """A single name needs no draft: it is decided on in the pass that reads the prompt."""
    decoder, vectors = decoder_of(1)
    lengths = []
    decoder.model.register_forward_hook(lambda module, given, hidden: lengths.append(given[0].shape[1]))
    for head in (None, presence_head(128)):
        decoder.presence_head = head
        for query in (LISTS[0], TOKENS[0], replace(LISTS[2], thresholds=(0.0,))):
            lengths.clear()
            [answer] = decoder.decode(vectors, [query])
            prompt = decoder.text.prompt_ids(decoder.format.prompt(query.kind, query.names))
            assert len(lengths) == answer.forwards
            assert (lengths[0] == len(prompt) - 1) == (head is not None and len(query.names) > 1)
    assert (answer.present, lengths) == ((True,), [len(prompt)])


def test_turns_of_a_conversation_are_drafted_too():
    decoder, vectors = decoder_of(2)
    decoder.format = replace(decoder.format, next_turn="")
    histories = [ChatHistory(), ChatHistory()]
    for query in (LISTS[0], replace(TOKENS[0], names=NAMES[10:13]), replace(LISTS[1], image=0)):
        answers = []
        for history, head in zip(histories, (None, presence_head(128)), strict=True):
            decoder.presence_head = head
            answers.append(decoder.decode(vectors[:1], [query], history=history))
        check_same(*answers)
    assert histories[0].ids == histories[1].ids


def test_a_name_at_the_end_of_the_prompt_is_drafted_too():
    """Its last token is read with the answer, so the draft is made from the one before it."""
    decoder, vectors = decoder_of(3)
    decoder.format = replace(decoder.format, prompts={**decoder.format.prompts, "categories": "<image> {query}"})
    plain = decoder.decode(vectors, LISTS[:1])
    decoder.presence_head = presence_head(128)
    check_same(decoder.decode(vectors, LISTS[:1]), plain)


def test_names_before_the_image_are_not_drafted_by_the_head():
    """The kind is the user's own, so that building an assistant does not know whether it decides."""
    own, head = QueryKind("found", many=True), presence_head(128)
    decoder, vectors = decoder_of(3)
    decoder.format = replace(decoder.format, prompts={**decoder.format.prompts, "found": "{query} in <image> answer"})
    plain = decoder.decode(vectors, [replace(LISTS[0], kind=own)])
    decoder.presence_head = head
    [answer] = decoder.decode(vectors, [replace(LISTS[0], kind=own)])
    check_same([answer], plain)
    assert answer.forwards == plain[0].forwards
    with pytest.raises(QueryError, match=r"^decoding: 'one_pass' decides .* the prompt of found has them before the"):
        check_one_pass(head, decoder.format, [own])
