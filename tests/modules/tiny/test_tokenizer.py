"""Ids that are kept word by word are those of the whole text."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.modules.base import FeatureSpec
from lasagna.modules.language_models.text_processor import TokenizerTextProcessor
from lasagna.modules.tiny.language_model import TinyLanguageModel
from lasagna.modules.tiny.tokenizer import WordTextProcessor
from lasagna.modules.tiny.weights import packaged_words

FEATURES = FeatureSpec((96,), (8,), (96, 96))
PIECES = ["<SEG>", "<NEG>", "<image>", "<yes>", " ", "  ", "\n", "\x1c", "\u00a0", "\u0301", "Σ", "ﬁ", "…", ",", "-"]


@pytest.fixture(scope="module")
def text_processor() -> WordTextProcessor:
    return built(("<SEG>", "<NEG>", "<image>"))


def built(tokens):
    model = TinyLanguageModel(weights="random", projector="random")
    model.build(FEATURES, tokens)
    return model.text_processor


@given(st.lists(st.sampled_from([*PIECES, *packaged_words()[:40]]) | st.text(max_size=4), max_size=12).map("".join))
def test_ids_are_those_of_the_text_as_a_whole(text_processor, text):
    assert isinstance(text_processor, WordTextProcessor)
    assert text_processor.answer_ids(text) == list(text_processor.tokenizer(text, add_special_tokens=False).input_ids)


@given(st.lists(st.sampled_from([*PIECES, *packaged_words()[:40]]), max_size=12).map(" ".join))
def test_so_are_those_of_words_with_blanks_between(text_processor, text):
    assert text_processor.answer_ids(text) == list(text_processor.tokenizer(text, add_special_tokens=False).input_ids)


def test_what_is_returned_can_be_changed_and_what_is_kept_travels(text_processor):
    once = text_processor.answer_ids("sky <SEG>")
    once.append(7)
    assert pickle.loads(pickle.dumps(text_processor)).answer_ids("sky <SEG>") == once[:-1]


def test_words_are_not_taken_apart_where_a_token_holds_a_blank():
    assert type(built(("[it is here]", "<NEG>", "<image>"))) is TokenizerTextProcessor
