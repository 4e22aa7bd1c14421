"""Ordered decoding of answers in which each object has a token: how many tokens follow a name is decided too.

Behind each present token the grammar allows another one, or what comes next in the answer. As with one token a name,
everything is drafted, checked in one forward pass over the cached prompt, and all new decisions are taken. The first
draft has none present, or ``FIRST`` tokens of each name that the presence head calls present. A name that is not at its
end gets several tokens more in the next draft, and loses those that are too many in the one after it. So an answer
takes three passes if no name has more objects than ``FIRST``, one pass more for each doubling, and a few more where
decisions change others. The result is greedy decoding under this grammar.

Notation: k: decisions of one row; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from lasagna.modules.decoding.cache import CachedPrompts

FIRST = 4
"""Tokens of a name in the first draft in which it is present; while they are too few, each draft has twice as many."""

Decision = tuple[float, Tensor]
"""Probability of the present token, and the state ``[d]`` that predicts it."""

Scores = Callable[[Tensor, Tensor], Tensor]
"""From states ``[k, d]`` and the ids of the alternatives ``[k]``, it computes the present token's probabilities."""


@dataclass(frozen=True)
class TokenGrammar:
    """What an answer with a token for each object may hold.

    Args:
        present_id: The present token.
        absent_id: The absent token.
        thresholds: Score from which each name is present.
        object_threshold: Score from which another token follows.
        most: Most tokens of a name.
    """

    present_id: int
    absent_id: int
    thresholds: Sequence[float]
    object_threshold: float
    most: int


@dataclass(frozen=True)
class TokenDraft:
    """The draft of one answer.

    Args:
        grammar: What it may hold.
        first: The last token of the prompt.
        leads: Token ids before the first decision about each name.
        end: Token ids behind the last decision; the last of them, the end token, is not read.
        room: Most tokens of the answer beside those that it has if nothing is present.
        counts: Number of present tokens of each name.
    """

    grammar: TokenGrammar
    first: int
    leads: Sequence[list[int]]
    end: list[int]
    room: int
    counts: tuple[int, ...]

    @cached_property
    def tokens(self) -> list[int]:
        """Token ids of the draft, the prompt's last one first."""
        row = [self.first]
        for lead, count in zip(self.leads, self.counts, strict=True):
            row += lead
            row += [self.grammar.present_id] * count or [self.grammar.absent_id]
        return row + self.end[:-1]

    @property
    def deciding(self) -> list[int]:
        """Token ids up to the last one that predicts a decision."""
        return self.tokens[: self.decisions[-1][0] + 1]

    @cached_property
    def starts(self) -> list[int]:
        """Place of the state that decides whether each name is present."""
        lengths = [len(lead) + max(1, count) for lead, count in zip(self.leads, self.counts, strict=True)]
        before = list(accumulate(lengths, initial=0))
        return [place + len(lead) for place, lead in zip(before, self.leads, strict=False)]

    @cached_property
    def decisions(self) -> list[tuple[int, int]]:
        """Place of the state of each decision, and the token that stands there if it is not the present one."""
        coming = [*((*lead, self.grammar.absent_id)[0] for lead in self.leads[1:]), self.end[0]]
        found = list[tuple[int, int]]()
        for start, count, follows in zip(self.starts, self.counts, coming, strict=True):
            found.append((start, self.grammar.absent_id))
            found += [(start + rank, follows) for rank in range(1, count + 1)]
        return found

    def revised(self, decided: Mapping[int, Decision]) -> TokenDraft:
        """Return the draft after all decisions are taken anew.

        Args:
            decided: The decision at each place.
        """
        counts = list[int]()
        for start, drafted, cut in zip(self.starts, self.counts, self.grammar.thresholds, strict=True):
            count = int(decided[start][0] >= cut)
            while 0 < count <= drafted and decided[start + count][0] >= self.grammar.object_threshold:
                count += 1
            if count > drafted:  # none of its tokens is the last one
                count = max(FIRST, 2 * drafted)
            counts.append(count)
        return self.with_counts(counts)

    def with_counts(self, counts: Iterable[int]) -> TokenDraft:
        """Return the draft with other numbers of present tokens, as far as the grammar and the room allow them.

        Args:
            counts: That of each name.
        """
        room, kept = self.room, list[int]()
        for count in counts:
            kept.append(min(count, self.grammar.most, 1 + room))
            room -= max(0, kept[-1] - 1)
        return replace(self, counts=tuple(kept))


@dataclass(frozen=True)
class DecidedTokens:
    """How many tokens each name of a row has.

    Args:
        counts: Number of present tokens of each name.
        scores: Probability of the present token at each decision token, float ``[k]``.
        states: Hidden state that predicted each decision token, float ``[k, d]``.
        tokens: Token ids of the answer, the prompt's last one first.
    """

    counts: tuple[int, ...]
    scores: Tensor
    states: Tensor
    tokens: list[int]


def refine_tokens(cached: CachedPrompts, drafts: Sequence[TokenDraft], score: Scores) -> list[DecidedTokens]:
    """Read drafts and take all decisions anew, until none changes.

    Everything before the first change in any row is final and stays in the cache, as in ``refine``.

    Args:
        cached: The prompts without their last tokens; extended by the answers, as far as they are read.
        drafts: The drafts.
        score: Computes the probability of the present token at some decisions.
    """
    drafts, start, forwards = list(drafts), 0, 0
    known: list[dict[int, Decision]] = [{} for _ in drafts]
    while True:
        rows = [draft.deciding for draft in drafts]
        hidden, forwards = cached.read([row[start:] for row in rows]), forwards + 1
        known = _decide(drafts, known, hidden, start, score)
        revised = [draft.revised(found) for draft, found in zip(drafts, known, strict=True)]
        changes = [_first_change(row, draft.deciding) for row, draft in zip(rows, revised, strict=True)]
        first = min((place for place in changes if place is not None), default=None)
        # each pass makes at least one more decision final; the limit is for nondeterministic kernels, as in ``refine``
        if first is None or forwards > max(len(draft.decisions) for draft in drafts):
            cached.commit(hidden.shape[1])
            return [_decided(draft, found) for draft, found in zip(drafts, known, strict=True)]
        cached.commit(first - start)
        drafts, start = revised, first
        if all(len(draft.deciding) <= start for draft in drafts):  # answers that only lost their last tokens
            return [_decided(draft, found) for draft, found in zip(drafts, known, strict=True)]


def _decide(
    drafts: Sequence[TokenDraft], known: Sequence[dict[int, Decision]], hidden: Tensor, start: int, score: Scores
) -> list[dict[int, Decision]]:
    """Return the decisions of each row by place: those before ``start``, which are final, and new ones."""
    coming = [
        (row, place, token) for row, draft in enumerate(drafts) for place, token in draft.decisions if place >= start
    ]
    decided = [{place: one for place, one in found.items() if place < start} for found in known]
    if coming:
        rows, places, tokens = (torch.tensor(part, device=hidden.device) for part in zip(*coming, strict=True))
        states = hidden[rows, places - start]
        for (row, place, _), value, state in zip(coming, score(states, tokens).tolist(), states, strict=True):
            decided[row][place] = value, state
    return decided


def _first_change(old: Sequence[int], new: Sequence[int]) -> int | None:
    shorter = min(len(old), len(new))
    change = next((place for place, (one, two) in enumerate(zip(old, new, strict=False)) if one != two), shorter)
    return None if change == len(old) == len(new) else change


def _decided(draft: TokenDraft, found: dict[int, Decision]) -> DecidedTokens:
    spans = zip(draft.starts, draft.counts, strict=True)
    decisions = [found[place] for start, count in spans for place in range(start, start + max(1, count))]
    states = torch.stack([state for _, state in decisions])
    scores = torch.tensor([value for value, _ in decisions], device=states.device)
    return DecidedTokens(draft.counts, scores, states, draft.tokens)
