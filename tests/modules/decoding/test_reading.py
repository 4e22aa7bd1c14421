"""Captions are read back as they were written, whatever a tokeniser leaves of blanks."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.prompt_formats import PAPER
from lasagna.core.query_kind import GROUNDED_CAPTION
from lasagna.modules.decoding.reading import read_answer
from lasagna.modules.language_models.text_processor import TokenizerTextProcessor
from lasagna.modules.tiny.tokenizer import build_tokenizer
from tests.helpers.chat_tokenizers import TOKENIZERS

TEXT = "a red boat, (its sail) and two birds on the sea."
PHRASES = ("red boat", "its sail", "two birds", "sea")
TINY = {"tiny": lambda: build_tokenizer(TEXT.replace(",", " ").split())}


@pytest.mark.parametrize("markers", [(), PAPER.phrase_marks], ids=["marks as text", "marks as tokens"])
@pytest.mark.parametrize("make", (TOKENIZERS | TINY).values(), ids=TOKENIZERS | TINY)
def test_captions_survive_every_kind_of_tokeniser(make, markers):
    form, tokenizer = replace(PAPER, markers=markers), make()
    tokenizer.add_special_tokens({"additional_special_tokens": list(form.special_tokens)}, False)
    text = TokenizerTextProcessor(tokenizer, "<image>", 4, tokenizer.eos_token_id, tokenizer.eos_token_id, 999)
    spans = [(TEXT.index(phrase), TEXT.index(phrase) + len(phrase)) for phrase in PHRASES]
    entries = tuple(Entry(TEXT[begin:end], True, span=(begin, end)) for begin, end in spans)
    tokens = text.answer_ids(form.answer(Dialogue(GROUNDED_CAPTION, ("it",), entries, text=TEXT)))
    present, absent = (tokenizer.convert_tokens_to_ids(token) for token in form.special_tokens[:2])
    decoder = SimpleNamespace(
        text=text,
        format=form,
        present_id=present,
        absent_id=absent,
        temperature=1.0,
        model=SimpleNamespace(logits=lambda states: torch.zeros(len(states), len(tokenizer))),
        decision_places=lambda ids: [place for place, token in enumerate(ids) if token in (present, absent)],
    )
    answer = read_answer(decoder, Query(0, GROUNDED_CAPTION, ("it",)), [*tokens, text.end_token_id], torch.zeros(4, 2))
    assert [entry.name for entry in answer.entries] == list(PHRASES) and answer.faults == ()
    assert [answer.words[slice(*entry.span)] for entry in answer.entries] == list(PHRASES)
    if "▁" in tokenizer.get_vocab() or "Ġ" in tokenizer.get_vocab():
        assert answer.words == TEXT
