"""Ordered decoding of queries whose answers have a token for each object, with a decoder.

Notation: b: images; i: image tokens; k: decisions; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.prompt_format import ParsedEntry
from lasagna.core.thresholds import thresholds_of
from lasagna.modules.decoding.answers import DecodedAnswer
from lasagna.modules.decoding.cache import ChatHistory
from lasagna.modules.decoding.object_tokens import FIRST, DecidedTokens, TokenDraft, TokenGrammar, refine_tokens
from lasagna.modules.decoding.one_pass import draft_scores
from lasagna.modules.decoding.reading import scores_against

if TYPE_CHECKING:
    from lasagna.modules.decoding.decoder import Decoder


@torch.no_grad()
def decode_by_token(
    decoder: Decoder, image_vectors: Tensor, queries: Sequence[Query], history: ChatHistory | None = None
) -> list[DecodedAnswer]:
    """Decide on every name of each query, in the order asked, and on how many tokens it has.

    An answer has no more tokens than the language model takes; where there is no room, no more objects are told.

    Args:
        decoder: The decoder.
        image_vectors: The images as the language model reads them, float ``[b, i, d]``.
        queries: The queries, each of a kind where every object has a token.
        history: Previous turns of the conversation that the one query continues, or None.

    Returns:
        One decoded answer for each query.

    Raises:
        QueryError: If a query is longer than the language model takes.
    """
    absent = [decoder.absent_answer(query) for query in queries]
    prompts, cached = decoder.read_prompts(image_vectors, queries, absent, history)
    scores = draft_scores(decoder, cached, queries)
    drafts = [_draft(decoder, *parts) for parts in zip(queries, prompts, absent, scores, strict=True)]
    decided = refine_tokens(cached, drafts, partial(scores_against, decoder))
    if history is not None:
        history.close([*prompts[0][:-1], *decided[0].tokens, decoder.text.end_token_id], cached)
    return [_answer(decoder, query, one, cached.passes) for query, one in zip(queries, decided, strict=True)]


def _draft(decoder: Decoder, query: Query, prompt: Sequence[int], absent: Sequence[int], scores: Tensor) -> TokenDraft:
    """Return the draft in which names have as many tokens as in any draft in which they become present, or none."""
    text, most = decoder.text, query.kind.tokens
    cuts = thresholds_of(query, decoder.threshold)
    grammar = TokenGrammar(decoder.present_id, decoder.absent_id, cuts, decoder.object_threshold, most)
    places = decoder.decision_places(absent)
    starts = [0, *(place + 1 for place in places)]
    leads = [list(absent[start:place]) for start, place in zip(starts, places, strict=False)]
    room = text.max_length - len(prompt) - len(absent) - 1
    draft = TokenDraft(grammar, prompt[-1], leads, [*absent[starts[-1] :], text.end_token_id], room, (0,) * len(places))
    return draft.with_counts([FIRST * (score >= cut) for score, cut in zip(scores.tolist(), cuts, strict=True)])


def _answer(decoder: Decoder, query: Query, decided: DecidedTokens, forwards: int) -> DecodedAnswer:
    tokens = [max(1, count) for count in decided.counts]
    present = tuple(count > 0 for count, length in zip(decided.counts, tokens, strict=True) for _ in range(length))
    entries = tuple(
        ParsedEntry(name, count > 0, place, length)
        for name, count, place, length in zip(
            query.names, decided.counts, accumulate(tokens, initial=0), tokens, strict=False
        )
    )
    text = decoder.format.render(query.kind, list(zip(query.names, decided.counts, strict=True)))
    return DecodedAnswer(text, entries, (), present, decided.scores, decided.states, forwards)
