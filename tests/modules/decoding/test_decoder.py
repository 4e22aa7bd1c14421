"""Ordered decoding equals token-by-token greedy decoding under the grammar; free decoding equals plain greedy."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.query_kind import QueryKind, kind_of
from lasagna.errors import QueryError
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.teacher_forced import decode_teacher_forced
from lasagna.modules.tiny.weights import packaged_words
from tests.helpers.assistants import (
    dictate,
    greedy_tokens,
    greedy_under_grammar,
    plain_logits,
    random_assistant,
    token_counts,
)

NAMES = packaged_words()[10:60]
SOME = QueryKind("instances_by_token", many=True, objects=True, tokens=5)


def queries_of(kind, count, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 13 if kind_of(kind).many else 2, (count,), generator=generator).tolist()
    return [
        Query(
            rank % 3, kind, tuple(NAMES[k] for k in torch.randperm(len(NAMES), generator=generator)[:length].tolist())
        )
        for rank, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("prompt_format", ["tiny", "paper", "released"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ordered_is_greedy_under_the_grammar(prompt_format, seed):
    assistant = random_assistant(seed, prompt_format)
    vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(seed))
    decoder = Decoder(assistant.language_model, assistant.format)
    for kind in ("categories", "referring", "reasoning"):
        queries = [replace(query, wording=rank % 3) for rank, query in enumerate(queries_of(kind, 6, seed))]
        decoded = decoder.decode(vectors, queries)
        assert [answer.present for answer in decoded] == [
            greedy_under_grammar(assistant.language_model, assistant.format, vectors, query) for query in queries
        ]


@pytest.mark.parametrize(("prompt_format", "seed"), [("tiny", 1), ("tiny", 4), ("paper", 0)])
def test_tokens_of_objects_are_greedy_under_the_grammar(prompt_format, seed):
    """In one batch with ordinary lists; some names have several objects, and one all that may be told."""
    assistant = random_assistant(seed, prompt_format)
    vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(seed))
    decoder = Decoder(assistant.language_model, assistant.format)
    queries = [*queries_of(SOME, 4, seed), *queries_of("categories", 2, seed), *queries_of(SOME, 1, seed + 9)]
    decoded, found = decoder.decode(vectors, queries), []
    for query, answer in zip(queries, decoded, strict=True):
        if not query.kind.tokens:
            assert answer.present == greedy_under_grammar(assistant.language_model, assistant.format, vectors, query)
            continue
        counts = greedy_tokens(assistant.language_model, assistant.format, vectors, query)
        assert token_counts(answer) == counts
        assert answer.text == assistant.format.render(query.kind, list(zip(query.names, counts, strict=True)))
        assert len(answer.scores) == len(answer.hidden) == len(answer.present) == sum(max(1, one) for one in counts)
        assert answer.mask_states.shape == (sum(counts), 128)
        found += counts
    assert {0, 1, 2, SOME.tokens} <= set(found)


def test_tokens_of_objects_have_the_states_of_one_forward(assistant):
    vectors = torch.randn(1, 4, 128, generator=torch.Generator().manual_seed(5))
    model, text = assistant.language_model, assistant.processors.text
    decoder = Decoder(model, assistant.format, object_threshold=0.2)
    query = Query(0, SOME, NAMES[:6])
    [answer] = decoder.decode(vectors, [query])
    prompt = text.prompt_ids(assistant.format.prompt(query.kind, query.names))
    row = torch.tensor([prompt + text.answer_ids(answer.text)])
    states = model(model.embed(row, vectors), torch.ones_like(row), torch.arange(row.shape[1])[None])[0]
    places = [place for place in decoder.decision_places(row[0].tolist()) if place >= len(prompt)]
    torch.testing.assert_close(answer.hidden, states[[place - 1 for place in places]], atol=1e-4, rtol=1e-4)
    assert max(entry.count for entry in answer.entries) > 1
    assert min(answer.scores[entry.decision + 1] for entry in answer.entries if entry.count > 1) >= 0.2


def test_no_more_tokens_are_told_than_there_is_room_for():
    assistant = random_assistant(3)
    text, names = assistant.processors.text, NAMES[:5]
    query, form = Query(0, "instances_by_token", names), assistant.format
    absent = text.answer_ids(form.render(query.kind, [(name, 0) for name in names]))
    least = len(text.prompt_ids(form.prompt(query.kind, names))) + len(absent) + 1
    always = Decoder(assistant.language_model, form, threshold=0.0, object_threshold=0.0)
    assert always.fits(query)
    text = replace(text, max_length=least + 20)
    assistant.language_model._text_processor = always.text = text
    [answer] = always.decode(torch.zeros(1, 4, 128), [query])
    assert (token_counts(answer), answer.forwards) == ([16, 6, 1, 1, 1], 3)  # drafts of 4, 8 and 16 tokens
    assert always.fits(query)
    always.text = replace(text, max_length=least + 15)
    assert not always.fits(query)
    greedy = Decoder(assistant.language_model, form)
    [answer] = greedy.decode(torch.randn(1, 4, 128), [query])
    assert len(text.answer_ids(answer.text)) <= len(absent) + 20


def test_ordered_is_greedy_with_trained_weights():
    """The package's language model, which reads: its drafts are mostly right, and its answers are the same."""
    assistant = Assistant(TinyVisionEncoder(), TinyLanguageModel(), TinyMaskHead(), "tiny").eval()
    assistant.configure_model()
    pixels = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        vectors = assistant.encode(pixels).image_vectors
    queries = queries_of("categories", 9, 4) + queries_of("referring", 3, 5)
    decoded = Decoder(assistant.language_model, assistant.format).decode(vectors, queries)
    found = [answer.present for answer in decoded]
    assert found == [greedy_under_grammar(assistant.language_model, assistant.format, vectors, one) for one in queries]
    assert {True, False} == {one for answer in found for one in answer}


def test_decisions_depend_on_earlier_ones():
    """The check above is worth something only if drafts really get revised."""
    forwards, mixed = 0, False
    for seed in range(3):
        assistant = random_assistant(seed)
        vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(seed))
        for answer in Decoder(assistant.language_model, assistant.format).decode(
            vectors, queries_of("categories", 6, seed)
        ):
            forwards = max(forwards, answer.forwards)
            mixed |= len(set(answer.present)) == 2
    assert forwards >= 3
    assert mixed


def test_ordered_answers_do_not_depend_on_the_batch(assistant):
    vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(5))
    decoder = Decoder(assistant.language_model, assistant.format)
    queries = queries_of("categories", 5, 3)
    together = decoder.decode(vectors, queries)
    for query, answer in zip(queries, together, strict=True):
        alone = decoder.decode(vectors, [query])[0]
        assert alone.text == answer.text
        torch.testing.assert_close(alone.scores, answer.scores, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(alone.hidden, answer.hidden, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("prompt_format", ["tiny", "paper", "released", "lisa"])
def test_teacher_forcing_returns_the_state_before_the_given_token(prompt_format):
    """One forward over prompt and given answer, without any cache, has the same state and score."""
    assistant = random_assistant(1, prompt_format)
    model, text, spelling = assistant.language_model, assistant.processors.text, assistant.format
    vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(1))
    queries = queries_of("referring", 4, 1) + queries_of("reasoning", 4, 2)
    for query, answer in zip(queries, decode_teacher_forced(Decoder(model, spelling), vectors, queries), strict=True):
        lead = {"paper": "Sure, it is "}.get(prompt_format, "")
        ids = text.prompt_ids(spelling.prompt(query.kind, query.names)) + text.answer_ids(lead + spelling.present_token)
        row, image = torch.tensor([ids]), vectors[query.image : query.image + 1]
        states = model(model.embed(row, image), torch.ones_like(row), torch.arange(row.shape[1])[None])[0]
        assert ids[-1] == text.answer_ids(spelling.present_token)[0]
        torch.testing.assert_close(answer.hidden, states[-2:-1], atol=1e-4, rtol=1e-4)
        assert answer.text == lead + spelling.present_token + spelling.tail
        assert [(entry.name, entry.present) for entry in answer.entries] == [(query.names[0], True)]


def test_free_is_plain_greedy(assistant):
    vectors = torch.randn(3, 4, 128, generator=torch.Generator().manual_seed(7))
    text = assistant.processors.text
    queries = queries_of("categories", 4, 11)
    decoded = Decoder(assistant.language_model, assistant.format).free(vectors, queries, max_new_tokens=12)
    for query, answer in zip(queries, decoded, strict=True):
        tokens = text.prompt_ids(assistant.format.prompt(query.kind, query.names))
        written = []
        for _ in range(12):
            token = int(plain_logits(assistant.language_model, tokens + written, vectors[query.image]).argmax())
            written.append(token)
            if token == text.end_token_id:
                break
        assert answer.text == text.text(written)


def test_too_long_query_names_the_lengths(assistant):
    decoder = Decoder(assistant.language_model, assistant.format)
    query = Query(0, "categories", tuple(packaged_words()[:120]))
    with pytest.raises(QueryError, match=r"120 names need \d+ tokens .* takes 256; ask for fewer names"):
        decoder.decode(torch.zeros(1, 4, 128), [query])


def test_threshold_moves_decisions(assistant):
    vectors = torch.randn(1, 4, 128, generator=torch.Generator().manual_seed(5))
    query = Query(0, "categories", NAMES[:8])
    never = Decoder(assistant.language_model, assistant.format, threshold=1.1).decode(vectors, [query])[0]
    always = Decoder(assistant.language_model, assistant.format, threshold=0.0).decode(vectors, [query])[0]
    assert never.present == (False,) * 8
    assert always.present == (True,) * 8


def test_free_answers_do_not_depend_on_the_batch():
    """Neither the room of a row nor its budget is that of another row."""
    assistant = random_assistant(2)
    vectors = torch.randn(1, 4, 128, generator=torch.Generator().manual_seed(7))
    decoder = Decoder(assistant.language_model, assistant.format)
    long = " ".join(packaged_words()[10:240])
    queries = [
        Query(0, "referring", NAMES[:1]),
        Query(0, "question", (long,)),
        Query(0, "question", ("how many",)),
        Query(0, "categories", NAMES[:5]),
    ]
    together = decoder.free(vectors, queries)
    alone = [decoder.free(vectors, [query])[0] for query in queries]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.forwards for answer in alone}) > 1


@pytest.mark.parametrize("most", [None, 5])
def test_free_writes_no_more_than_its_budget(monkeypatch, most):
    assistant = random_assistant()
    text, [token] = assistant.processors.text, assistant.processors.text.answer_ids("dog")
    dictate(monkeypatch, assistant.language_model, [token] * 1000)
    query = Query(0, "categories", NAMES[:3])
    complete = len(text.answer_ids(assistant.format.render("categories", [(name, False) for name in NAMES[:3]])))
    answer = Decoder(assistant.language_model, assistant.format).free(torch.zeros(1, 4, 128), [query], most)[0]
    assert answer.text.split() == ["dog"] * (most or 2 * complete + 8)


def test_free_reads_an_explanation_behind_a_mask(monkeypatch):
    assistant = random_assistant(prompt_format="paper")
    text = assistant.processors.text
    told = "Sure, it is <SEG>. the dog, since the dog is on the house and the sky is not there, as the dog is."
    dictate(monkeypatch, assistant.language_model, text.answer_ids(told))
    answer = Decoder(assistant.language_model, assistant.format).free(
        torch.zeros(1, 4, 128), [Query(0, "reasoning_with_explanation", ("what barks?",))]
    )[0]
    assert [(entry.name, entry.present) for entry in answer.entries] == [("what barks?", True)]
    assert answer.faults == ()
    assert answer.text.split("<SEG>")[1].split()[-4:-1] == ["the", "dog", "is"]


def test_ordered_ends_though_the_model_wavers(assistant, monkeypatch):
    """Kernels that are not deterministic can turn a score near the threshold over and over."""
    calls = []

    def waver(hidden):
        assert len(calls) < 50
        calls.append(len(hidden))
        scores = torch.zeros(len(hidden), len(assistant.language_model.tokenizer))
        scores[:, decoder.present_id] = 1 if len(calls) % 2 else -1
        return scores

    decoder = Decoder(assistant.language_model, assistant.format)
    monkeypatch.setattr(assistant.language_model, "logits", waver)
    answer = decoder.decode(torch.zeros(1, 4, 128), [Query(0, "categories", NAMES[:4])])[0]
    assert answer.forwards <= 5
    assert [entry.present for entry in answer.entries] == list(answer.present)


def test_free_reads_tokens_of_objects(monkeypatch):
    assistant = random_assistant(prompt_format="paper")
    text = assistant.processors.text
    dictate(monkeypatch, assistant.language_model, text.answer_ids("dog <SEG><SEG><SEG>, sun <NEG>, car <SEG>."))
    decoder = Decoder(assistant.language_model, assistant.format)
    [answer] = decoder.decode(torch.zeros(1, 4, 128), [Query(0, "instances_by_token", ("dog", "sun", "car"))], "free")
    assert [entry.name for entry in answer.entries] == ["dog", "sun", "car"]
    assert (token_counts(answer), answer.faults) == ([3, 0, 1], ())
    assert (len(answer.scores), len(answer.mask_states)) == (5, 4)


def test_free_never_writes_an_image(monkeypatch):
    assistant = random_assistant()
    decoder = Decoder(assistant.language_model, assistant.format)
    dictate(monkeypatch, assistant.language_model, [decoder.image_id] * 2)
    answer = decoder.free(torch.zeros(1, 4, 128), [Query(0, "categories", NAMES[:2])], 4)[0]
    assert "<image>" not in answer.text
