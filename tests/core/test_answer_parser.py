"""Answers split at their decision tokens, of any length."""

import time

from hypothesis import given
from hypothesis import strategies as st

from lasagna.core.answer_parser import split_text

TOKENS = ("<SEG>", "<NEG>")


@given(st.lists(st.tuples(st.text("aS<EG>, ", max_size=6), st.booleans())), st.text("aS<EG>, ", max_size=6))
def test_pieces_and_rest_are_the_text(pieces, rest):
    pieces = [piece for piece in pieces if not any(token in piece[0] for token in TOKENS)]
    text = "".join(words + TOKENS[not present] for words, present in pieces) + rest
    found, left = split_text(text, *TOKENS)
    assert "".join(words + TOKENS[not present] for words, present in found) + left == text
    assert not any(token in words for token in TOKENS for words in (left, *(words for words, _ in found)))


def test_a_long_answer_is_split_in_time():
    began = time.process_time()
    pieces, rest = split_text("name <SEG>, " * 100_000, *TOKENS)
    assert time.process_time() - began < 2
    assert (len(pieces), pieces[-1], rest) == (100_000, (", name ", True), ", ")
