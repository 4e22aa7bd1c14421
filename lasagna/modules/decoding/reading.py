"""Reading of answers that a decoder wrote freely.

Notation: k: decisions; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lasagna.core.answer_parser import Piece
from lasagna.core.batch import Query
from lasagna.core.grounded_text import read_caption
from lasagna.core.prompt_format import Fault, ParsedEntry, normalise
from lasagna.modules.decoding.answers import DecodedAnswer

if TYPE_CHECKING:
    from lasagna.modules.decoding.decoder import Decoder


def read_answer(decoder: Decoder, query: Query, tokens: Sequence[int], hidden: Tensor) -> DecodedAnswer:
    """Read a free answer back, split at its decision tokens; words that only look like them do not count.

    Args:
        decoder: The decoder.
        query: The query.
        tokens: Token ids of the answer.
        hidden: Hidden states that predicted its decision tokens, float ``[k, d]``.
    """
    text, pieces, start = decoder.text, list[Piece](), 0
    for place in decoder.decision_places(tokens):
        pieces.append((text.text(tokens[start:place]), tokens[place] == decoder.present_id))
        start = place + 1
    entries: tuple[ParsedEntry, ...] = ()
    faults: tuple[Fault, ...] = ()
    rest, words = text.text(tokens[start:]), ""

    def as_written(part: str) -> str:
        return text.text(text.answer_ids(part))  # what the tokeniser leaves of it

    if query.kind.grounded:
        caption = read_caption(pieces, rest, list(map(as_written, decoder.format.phrase_marks)))
        words, entries, faults = caption.words, caption.entries, caption.faults
    elif query.kind.masks:
        entries, faults = decoder.format.read(
            query.kind, query.names, pieces, rest, lambda name: normalise(as_written(name))
        )
    present = tuple(there for _, there in pieces)
    [scores] = decoder.scores([hidden])
    further = [entry.decision + rank for entry in entries for rank in range(1, entry.count)]
    if further:
        scores[further] = scores_against(decoder, hidden[further])
    return DecodedAnswer(text.text(tokens), entries, faults, present, scores, hidden, len(tokens), words)


def scores_against(decoder: Decoder, states: Tensor, others: Tensor | None = None) -> Tensor:
    """Return the probability of the present token against another token at each state.

    Args:
        decoder: The decoder.
        states: Hidden states, float ``[k, d]``.
        others: The other tokens, long ``[k]``; None for the most probable ones.

    Returns:
        Probabilities ``[k]``.
    """
    logits = decoder.model.logits(states)
    present = logits[:, decoder.present_id].clone()
    if others is None:
        logits[:, decoder.present_id] = -torch.inf
        other = logits.amax(1)
    else:
        other = logits.gather(1, others[:, None])[:, 0]
    return (torch.stack([other, present], 1).float() / decoder.temperature).softmax(-1)[:, 1]
