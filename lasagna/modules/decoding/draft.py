"""Answers of which all but the decisions is known, drafted and read until no decision changes.

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
    """Drafts of some answers; their decisions change in place.

    Args:
        tails: Token ids of each row: the last of the prompt, and the answer.
        places: Where in each row the decision tokens are, ascending.
        present_id: The present token.
        absent_id: The absent token.
        threshold: Presence score from which a decision is the present token.
    """

    tails: Sequence[list[int]]
    places: Sequence[list[int]]
    present_id: int
    absent_id: int
    threshold: float

    def decide(self, scores: Sequence[Tensor]) -> int | None:
        """Put new decisions into the draft.

        Args:
            scores: Presence score at each decision of each row, float ``[k]``.

        Returns:
            The first place of any row that changed, or None if nothing did.
        """
        changed = []
        for tail, places, score in zip(self.tails, self.places, scores, strict=True):
            for place, present in zip(places, (score >= self.threshold).tolist(), strict=True):
                token = self.present_id if present else self.absent_id
                if tail[place] != token:
                    changed.append(place)
                tail[place] = token
        return min(changed, default=None)


def settle(
    cached: CachedPrompts, draft: Draft, score: Callable[[Sequence[Tensor]], list[Tensor]]
) -> tuple[list[Tensor], list[Tensor], int]:
    """Read the draft and take all new decisions, until nothing changes.

    What stands before the first new decision of all rows is final and stays in the cache, so that each forward reads
    less than the one before it.

    Args:
        cached: The prompts but for their last tokens; at the end, with the answers behind them.
        draft: The draft; at the end, the answers.
        score: Turns hidden states, float ``[k, d]`` of each row, into presence scores, float ``[k]`` of each.

    Returns:
        Scores and hidden states of each row's decisions, and the number of forwards.
    """
    states: list[list[Tensor]] = [[] for _ in draft.tails]
    scores: list[Tensor] = []
    begin: int | None = 0
    forwards = 0
    # each forward settles one decision more at least; kernels that are not deterministic might never agree
    while begin is not None and forwards <= max(map(len, draft.places)):
        hidden = cached.draft([tail[begin:] for tail in draft.tails])
        for row, places in enumerate(draft.places):
            final = sum(place <= begin for place in places)
            states[row][final:] = [hidden[row, place - 1 - begin] for place in places[final:]]
        scores = score([torch.stack(row) for row in states])
        first, forwards = draft.decide(scores), forwards + 1
        cached.settle(hidden.shape[1] if first is None else first - begin)
        begin = first
    return scores, [torch.stack(row) for row in states], forwards
