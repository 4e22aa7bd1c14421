"""Words with masks among them are written as GLaMM's grounded conversation and read back as they were."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.grounded_text import read_caption, span_error
from lasagna.core.prompt_formats import PAPER, TINY
from lasagna.core.query_kind import GROUNDED_CAPTION, QueryKind
from lasagna.errors import ConfigError, QueryError
from tests.helpers.made_records import mask

CAPTION = "a red boat on the sea"
SPANS = [(2, 10), (18, 21)]
WORDS = ["a", "red", "boat", "(the", "sea)", "it's", "ice-cold", "Ünder"]


def grounded(text, spans):
    entries = tuple(Entry(text[begin:end], True, mask("#."), span=(begin, end)) for begin, end in spans)
    return Dialogue(GROUNDED_CAPTION, ("the picture",), entries, text=text)


def test_the_answer_reads_as_in_grounded_conversations():
    answer = PAPER.answer(grounded(CAPTION, SPANS))
    assert answer == "a <p>red boat</p> <SEG> on the <p>sea</p> <SEG>"
    assert TINY.answer(grounded(CAPTION, SPANS)) == "a [red boat] <SEG> on the [sea] <SEG>"
    entries, faults = PAPER.parse(GROUNDED_CAPTION, ["the picture"], answer)
    assert [(entry.name, entry.present, entry.decision, entry.span) for entry in entries] == [
        ("red boat", True, 0, (2, 10)),
        ("sea", True, 1, (18, 21)),
    ]
    assert faults == ()


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.booleans()), min_size=1, max_size=9))
def test_what_was_written_is_read_back(parts):
    text, spans = "", []
    for word, marked in parts:
        text += " " if text else ""
        spans += [(len(text), len(text) + len(word))] if marked else []
        text += word
    pieces = PAPER.answer(grounded(text, spans)).split("<SEG>")
    caption = read_caption([(piece, True) for piece in pieces[:-1]], pieces[-1], PAPER.phrase_marks)
    assert (caption.words, [entry.span for entry in caption.entries], caption.faults) == (text, spans, ())


@pytest.mark.parametrize(
    ("pieces", "rest", "words", "names", "faults"),
    [
        ([("a [ red boat ]", True)], "on the [ sea ]", "a red boat on the sea", ["red boat"], ("missing",)),
        ([("a boat ", True), ("[ ]", True), ("]", True)], "", "a boat", [], ("unknown",) * 3 + ("missing",) * 2),
        ([("a [ boat ]", False)], "", "a boat", [], ("unknown", "missing")),
        ([("[ a [ boat ] ]", True)], ", gone", "a boat, gone", [], ("unknown", "missing", "missing")),
        ([("[ [ boat ]", True)], ".", "boat.", ["boat"], ("missing",)),
        ([("一[船]", True)], "在海上", "一船在海上", ["船"], ()),
    ],
)
def test_what_a_model_writes_wrongly_is_counted(pieces, rest, words, names, faults):
    found = read_caption(pieces, rest, "[]")
    assert (found.words, [entry.name for entry in found.entries]) == (words, names)
    assert sorted(found.faults) == sorted(faults)
    assert all(found.words[slice(*entry.span)] == entry.name for entry in found.entries)


@given(st.lists(st.tuples(st.text("ab[] ,", max_size=6), st.booleans()), max_size=4), st.text("ab[] ,", max_size=6))
def test_reading_never_raises_and_spans_are_right(pieces, rest):
    found = read_caption(pieces, rest, "[]")
    assert span_error(found.words, [entry.span for entry in found.entries]) is None
    assert all(found.words[slice(*entry.span)] == entry.name for entry in found.entries)
    assert len(found.entries) + found.faults.count("unknown") == len(pieces)


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([(2, 10), (4, 8)], r"\[4, 8\] begins before the end of the one before it, 10"),
        ([(18, 30)], r"\[18, 30\] holds no words of 'a red boat on the sea', which has 21"),
        ([(1, 2)], r"\[1, 2\] holds no words"),
    ],
)
def test_spans_must_lie_in_the_text_in_order(spans, message):
    with pytest.raises(QueryError, match=message):
        PAPER.answer(grounded(CAPTION, spans))
    with pytest.raises(QueryError, match="phrase 0 has no span"):
        PAPER.answer(Dialogue(GROUNDED_CAPTION, ("it",), (Entry("boat", True),), text="a boat"))


def test_marks_and_tokens_may_not_stand_among_the_words():
    with pytest.raises(QueryError, match=r"'a <p> boat' contains \['<p>'\]"):
        PAPER.answer(grounded("a <p> boat", []))
    with pytest.raises(ConfigError, match="phrase_marks: '' and ']' cannot be told apart"):
        replace(TINY, phrase_marks=("", "]"))
    with pytest.raises(ConfigError, match=r"phrase_marks: '<SEG>' and ']' cannot be told from \['<SEG>'\]; give other"):
        replace(TINY, phrase_marks=("<SEG>", "]"))


def test_grounded_kinds_need_words_and_masks():
    for form in ({"masks": False, "words": True}, {}, {"many": True}):
        with pytest.raises(ConfigError, match="grounded words have masks among them"):
            QueryKind("own", grounded=True, **form)
    assert not GROUNDED_CAPTION.is_phrase and GROUNDED_CAPTION.is_free
