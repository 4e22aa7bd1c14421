"""Answers of which everything but the decisions is known: drafted, then read until no decision changes.

Notation: t: tokens; k: decisions of one row; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lasagna.modules.decoding.cache import CachedPrompts


@dataclass(frozen=True)
class Draft:
    """Drafts of several answers; their decisions are changed in place.

    Args:
        tails: Token ids of each row: the last token of the prompt, then the answer.
        places: Positions of the decision tokens in each row, ascending.
        present_id: The present token.
        absent_id: The absent token.
        thresholds: Presence score from which each decision is the present token, float ``[k]`` for each row.
    """

    tails: Sequence[list[int]]
    places: Sequence[list[int]]
    present_id: int
    absent_id: int
    thresholds: Sequence[Tensor]

    def decide(self, scores: Sequence[Tensor]) -> list[int | None]:
        """Update all decisions from their scores.

        Args:
            scores: Presence score at each decision of each row, float ``[k]``.

        Returns:
            The first position that changed in each row, or None if nothing changed in it.
        """
        changed = []
        for tail, places, score, cut in zip(self.tails, self.places, scores, self.thresholds, strict=True):
            before = list(tail)
            for place, present in zip(places, (score >= cut).tolist(), strict=True):
                tail[place] = self.present_id if present else self.absent_id
            changed.append(next((place for place in places if tail[place] != before[place]), None))
        return changed


def refine(
    cached: CachedPrompts, draft: Draft, score: Callable[[Sequence[Tensor]], list[Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """Read the draft and update all decisions, until none changes that another one depends on.

    Everything before the first changed decision of all rows is final and stays in the cache, so each forward pass reads
    less than the one before it. The last decision of a row and what is behind it predict no decision and are not read.

    Args:
        cached: The prompts without their last tokens; extended by the answers, as far as they are read.
        draft: The draft; holds the answers at the end.
        score: Turns hidden states, float ``[k, d]`` for each row, into presence scores, float ``[k]`` for each row.

    Returns:
        Scores and hidden states of each row's decisions.
    """
    states: list[list[Tensor]] = [[] for _ in draft.tails]
    scores: list[Tensor] = []
    start, ends = 0, [places[-1] for places in draft.places]
    # Each forward pass makes at least one more decision final. The limit is for nondeterministic kernels, which might
    # otherwise flip a decision forever.
    for _ in range(1 + max(map(len, draft.places))):
        hidden = cached.read([tail[start:end] for tail, end in zip(draft.tails, ends, strict=True)])
        for row, places in enumerate(draft.places):
            final = sum(place <= start for place in places)
            states[row][final:] = [hidden[row, place - 1 - start] for place in places[final:]]
        scores = score([torch.stack(row) for row in states])
        changes = draft.decide(scores)
        first = min((place for place in changes if place is not None), default=start + hidden.shape[1])
        cached.commit(first - start)
        if all(place is None or place == end for place, end in zip(changes, ends, strict=True)):
            break
        start = first
    return scores, [torch.stack(row) for row in states]
