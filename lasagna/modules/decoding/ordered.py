"""Ordered decoding, which only decides: the answer to a list of categories has a known skeleton.

All decisions are drafted, checked in one forward pass over the cached prompt, and taken anew, until none changes. Each
decision is then the best one given all decisions before it: greedy decoding under the answer's grammar, whatever was
drafted. A presence head drafts its own decisions; without one nothing is drafted as present. Where each object has a
token, their numbers are decided in the same way (``by_token``).

Notation: d: hidden size; b: images; i: image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.prompt_format import ParsedEntry
from lasagna.core.thresholds import thresholds_of
from lasagna.modules.decoding.answers import DecodedAnswer
from lasagna.modules.decoding.cache import ChatHistory
from lasagna.modules.decoding.draft import Draft, refine
from lasagna.modules.decoding.one_pass import draft_scores
from lasagna.modules.decoding.reading import presence_scores

if TYPE_CHECKING:
    from lasagna.modules.decoding.decoder import Decoder


@torch.no_grad()
def decode_ordered(
    decoder: Decoder, image_vectors: Tensor, queries: Sequence[Query], history: ChatHistory | None = None
) -> list[DecodedAnswer]:
    """Decide on every name of each query, in the order asked; no words behind them are written.

    What a query points at (``Query.visual``) is present whatever its score.

    Args:
        decoder: The decoder.
        image_vectors: The images as the language model reads them, float ``[b, i, d]``.
        queries: The queries, each of a kind whose answers are decisions, where a present name has one token.
        history: Previous turns of the conversation that the one query continues, or None.

    Returns:
        One decoded answer for each query.

    Raises:
        QueryError: If a query is longer than the language model takes.
    """
    absent = [decoder.absent_answer(query) for query in queries]
    prompts, cached = decoder.read_prompts(image_vectors, queries, absent, history)
    tails = [prompt[-1:] + answer for prompt, answer in zip(prompts, absent, strict=True)]
    places = [decoder.decision_places(tail) for tail in tails]
    device = image_vectors.device
    cuts = [torch.tensor(thresholds_of(query, decoder.threshold), device=device) for query in queries]
    draft = Draft(tails, places, present_id=decoder.present_id, absent_id=decoder.absent_id, thresholds=cuts)
    draft.decide(draft_scores(decoder, cached, queries))
    scores, states = refine(cached, draft, partial(presence_scores, decoder))
    if history is not None:
        history.close([*prompts[0][:-1], *tails[0], decoder.text.end_token_id], cached)
    answers = []
    for query, score, state, cut in zip(queries, scores, states, cuts, strict=True):
        present = tuple((score >= cut).tolist())
        decisions = list(zip(query.names, present, strict=True))
        entries = tuple(ParsedEntry(name, there, rank) for rank, (name, there) in enumerate(decisions))
        text = decoder.format.render(query.kind, decisions)
        answers.append(DecodedAnswer(text, entries, (), present, score, state, cached.passes))
    return answers
