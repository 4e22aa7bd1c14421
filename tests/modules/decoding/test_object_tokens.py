"""Drafts of answers with a token for each object: how many passes they take."""

import pytest
import torch

from lasagna.modules.decoding.object_tokens import TokenDraft, TokenGrammar, refine_tokens

PRESENT, ABSENT, END = 1, 2, 3


class Rows:
    """Stands for the cached prompts: the state of a token is the row up to it."""

    def __init__(self):
        self.kept, self.passes = [], 0

    def read(self, rows):
        [self.coming] = rows
        self.passes += 1
        whole = self.kept + self.coming
        states = torch.zeros(1, len(self.coming), 40)
        for place in range(len(self.coming)):
            length = len(self.kept) + place + 1
            states[0, place, :length] = torch.tensor(whole[:length], dtype=torch.float)
        return states

    def commit(self, count):
        self.kept += self.coming[:count]


@pytest.mark.parametrize(
    ("counts", "passes"),
    [((0, 0, 0), 1), ((0, 1, 0), 3), ((0, 3, 1, 4, 0, 2), 3), ((4, 4), 2), ((5, 0), 4), ((9, 0), 5)],
)
def test_passes_grow_with_the_doublings_of_the_largest_count(counts, passes):
    """Where no decision depends on another one; name number k is the token 10 + k."""

    def decided(states, _):
        rows = [[int(token) for token in state if token] for state in states]
        told = [row[::-1].index(next(token for token in reversed(row) if token >= 10)) for row in rows]
        names = [next(token for token in reversed(row) if token >= 10) - 10 for row in rows]
        return torch.tensor([float(count < counts[name]) for count, name in zip(told, names, strict=True)])

    grammar = TokenGrammar(PRESENT, ABSENT, [0.5] * len(counts), 0.5, 16)
    leads = [[10 + name] for name in range(len(counts))]
    draft = TokenDraft(grammar, 9, leads, [END], 100, (0,) * len(counts))
    [found] = refine_tokens(rows := Rows(), [draft], decided)
    assert (found.counts, rows.passes) == (counts, passes)
