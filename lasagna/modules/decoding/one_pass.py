"""Decisions of the presence head, taken where the query is read: an answer written from them, or a draft of one.

The head decides on all names from the hidden states of the prompt. The answer with these decisions is then read in one
forward pass, up to the last present token, and the states that predict its present tokens prompt the masks, as in any
other answer. So masks come from states as training had them, and an answer in which nothing is present needs no pass.

Notation: r: rows (queries); k: names of one row; d: hidden size; b: images; i: image tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.name_places import name_places, names_behind_image
from lasagna.core.prompt_format import ParsedEntry
from lasagna.core.thresholds import thresholds_of
from lasagna.modules.decoding.answers import DecodedAnswer
from lasagna.modules.decoding.cache import CachedPrompts, ChatHistory

if TYPE_CHECKING:
    from lasagna.modules.decoding.decoder import Decoder


@torch.no_grad()
def decode_one_pass(
    decoder: Decoder, image_vectors: Tensor, queries: Sequence[Query], history: ChatHistory | None = None
) -> list[DecodedAnswer]:
    """Take the presence head's decision on every name of each query, in the order asked.

    What a query points at (``Query.visual``) is present whatever its score. The hidden state of an absent name is the
    one that the head saw.

    Args:
        decoder: The decoder, with a presence head.
        image_vectors: The images as the language model reads them, float ``[b, i, d]``.
        queries: The queries, each of a kind where a present name has one token (``check_decoding``).
        history: Previous turns of the conversation that the one query continues, or None.

    Returns:
        One decoded answer for each query.

    Raises:
        QueryError: If a query is longer than the language model takes.
    """
    absent = [decoder.absent_answer(query) for query in queries]
    prompts, cached = decoder.read_prompts(image_vectors, queries, absent, history, whole=True)
    read = cached.last_states()
    last, states = read[:, -1:], [read[row, _places(decoder, query)] for row, query in enumerate(queries)]
    scores = _scores(decoder, states)
    cuts = [
        torch.tensor(thresholds_of(query, decoder.threshold), device=score.device)
        for query, score in zip(queries, scores, strict=True)
    ]
    decisions = [tuple((score >= cut).tolist()) for score, cut in zip(scores, cuts, strict=True)]
    texts = [
        decoder.format.render(query.kind, list(zip(query.names, present, strict=True)))
        for query, present in zip(queries, decisions, strict=True)
    ]
    answers = list(map(decoder.text.answer_ids, texts))
    _read_present(decoder, cached, answers, decisions, states, last)
    if history is not None:
        history.close([*prompts[0], *answers[0], decoder.text.end_token_id], cached)
    return [
        DecodedAnswer(text, _entries(query, present), (), present, score, state, cached.passes)
        for query, text, present, score, state in zip(queries, texts, decisions, scores, states, strict=True)
    ]


def draft_scores(decoder: Decoder, cached: CachedPrompts, queries: Sequence[Query]) -> list[Tensor]:
    """Return scores of presence to draft an answer from: the head's, or 0, as for names before the image.

    The head needs the states of the prompt, which is then read by itself. A single name is not worth that: its decision
    is the first one of the answer, which no draft changes.

    Args:
        decoder: The decoder.
        cached: The prompts without their last tokens.
        queries: The queries.

    Returns:
        The scores of each row, ``[k]``.
    """
    blind = not all(names_behind_image(decoder.format, query.kind, query.wording) for query in queries)
    if decoder.presence_head is None or blind or all(len(query.names) == 1 for query in queries):
        return [torch.zeros(len(query.names), device=cached.mask.device) for query in queries]
    read = cached.last_states()
    # a name may end with the prompt's last token, which is not read yet: the one before must do for a draft
    places = [[min(place + 1, -1) for place in _places(decoder, query)] for query in queries]
    return _scores(decoder, [read[row, own] for row, own in enumerate(places)])


def _places(decoder: Decoder, query: Query) -> list[int]:
    """Return the places of the names, counted from the prompt's end, where a conversation has the same tokens."""
    asked = (query.kind, query.names, query.wording, query.images)
    places, length = name_places(decoder.text, decoder.format, *asked)
    return [place - length for place in places]


def _scores(decoder: Decoder, states: Sequence[Tensor]) -> list[Tensor]:
    """Return the head's probability of presence of each row's names, ``[k]``."""
    assert decoder.presence_head is not None
    scores = (decoder.presence_head(torch.cat(list(states))) / decoder.temperature).sigmoid()
    return list(scores.split([len(state) for state in states]))


def _read_present(
    decoder: Decoder,
    cached: CachedPrompts,
    answers: Sequence[list[int]],
    decisions: Sequence[Sequence[bool]],
    states: Sequence[Tensor],
    last: Tensor,
) -> None:
    """Read the answers and put the states that predict present tokens into ``states``.

    Args:
        decoder: The decoder.
        cached: The whole prompts.
        answers: Token ids of each row's answer.
        decisions: Whether each name of a row is present.
        states: States of the names of each row, float ``[k, d]``; those of present names are replaced.
        last: State of the last token of each prompt, float ``[r, 1, d]``.
    """
    found = [
        [(rank, place) for rank, (place, there) in enumerate(zip(places, present, strict=True)) if there]
        for places, present in zip(map(decoder.decision_places, answers), decisions, strict=True)
    ]
    # a token at the start of an answer is predicted by the prompt
    tails = [answer[: max((place for _, place in row), default=0)] for answer, row in zip(answers, found, strict=True)]
    hidden = torch.cat([last, cached.extend(tails, keep=True)], 1) if any(tails) else last
    for row, pairs in enumerate(found):
        for rank, place in pairs:
            states[row][rank] = hidden[row, place]


def _entries(query: Query, present: Sequence[bool]) -> tuple[ParsedEntry, ...]:
    return tuple(
        ParsedEntry(name, there, rank) for rank, (name, there) in enumerate(zip(query.names, present, strict=True))
    )
