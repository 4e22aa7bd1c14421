"""Prompts of unequal lengths in a cache of keys, values and states, and the history of a conversation.

Notation: r: rows; t: tokens; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lasagna.modules.base import LanguageModel
from lasagna.modules.contract import check_states
from lasagna.modules.decoding.recurrent import RecurrentStates, behind


def right_pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Pad rows on the right; return the ids, long ``[r, t]``, and the mask of real tokens, long ``[r, t]``."""
    longest = max(map(len, rows))
    ids = [[*row, *[padding] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def left_pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Pad rows on the left; return the ids, long ``[r, t]``, and the mask of real tokens, long ``[r, t]``."""
    ids, mask = right_pad([list(row)[::-1] for row in rows], padding, device)
    return ids.flip(1), mask.flip(1)


def row_positions(mask: Tensor) -> Tensor:
    """Return the position of each token among the real tokens of its row, long ``[r, t]``, for any padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


class CachedPrompts:
    """Prompts in a language model's cache.

    Prompts are read together with the first tokens that follow them, unless a layer keeps a state, which must be saved
    between both. Tokens that are kept, but that such a layer cannot keep, are read again with the next ones.

    Args:
        model: The language model.
        prompts: Token ids of each row.
        vectors: Each row's image as the language model reads it, float ``[r, i, d]``.

    Attributes:
        passes: Number of forward passes so far, in a conversation those of the turn.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[list[int]], vectors: Tensor) -> None:
        self.model = model
        self.padding = model.text_processor.padding_token_id
        self.unread, self.mask = left_pad(prompts, self.padding, vectors.device)
        self.vectors = vectors
        self.cache = model.new_cache()
        self.states = RecurrentStates(self.cache)
        self.early: list[list[int]] = [[] for _ in prompts]
        self.passes = 0
        if self.states:
            self._forward(self.unread[:, :0], self.mask)

    @property
    def length(self) -> int:
        """Number of tokens of each row that are kept, padding included."""
        return self.mask.shape[1] + max(map(len, self.early))

    def extend(self, tails: Sequence[Sequence[int]], keep: bool) -> Tensor:
        """Read tokens that follow the prompts.

        Args:
            tails: Token ids of each row; a row without any stays as it is.
            keep: Whether to keep them in the cache.

        Returns:
            Their hidden states, float ``[r, t, d]``.
        """
        hidden = self.read(tails)
        self.commit(hidden.shape[1] if keep else 0)
        return hidden

    def read(self, tails: Sequence[Sequence[int]]) -> Tensor:
        """Read tokens that follow the prompts; call ``commit`` afterwards to say how many of them to keep.

        Args:
            tails: Token ids of each row; a row without any stays as it is.

        Returns:
            Their hidden states, float ``[r, t, d]``.
        """
        self.tails = [list(tail) for tail in tails]
        rows = [early + tail for early, tail in zip(self.early, self.tails, strict=True)]
        ids, self.tail_mask = right_pad(rows, self.padding, self.mask.device)
        self.states.save()
        hidden = self._forward(ids, torch.cat([self.mask, self.tail_mask], 1))
        if any(self.early):
            self.hidden = hidden = behind(hidden, self.early, max(map(len, tails)))
        return hidden

    def last_states(self) -> Tensor:
        """Return the states of what was read last, float ``[r, t, d]``; those of prompts are padded on the left."""
        if self.unread.shape[1]:
            self._forward(self.unread[:, :0], self.mask)
        return self.hidden

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Read what is unread of the prompts, and tokens ``[r, t]`` behind them; return the states of these tokens."""
        unread, count = torch.cat([self.unread, ids], 1), ids.shape[1]
        positions = row_positions(mask)[:, -unread.shape[1] :]
        hidden: Tensor = self.model(self.model.embed(unread, self.vectors), mask, positions, self.cache)
        if unread.shape[1] > count:
            check_states(self.model, hidden)
            self.unread, self.vectors = self.unread[:, :0], self.vectors[:, :0]
        self.hidden, self.passes = hidden, self.passes + 1
        return hidden[:, hidden.shape[1] - count :]

    def commit(self, count: int) -> None:
        """Keep the first tokens that ``read`` has read, and drop the others from the cache.

        Args:
            count: Number of tokens of each row to keep.
        """
        if self.states:
            self._commit_whole_rows(count)
            return
        dropped = self.tail_mask.shape[1] - count
        if dropped:
            self.cache.crop(-dropped)
        self.mask = torch.cat([self.mask, self.tail_mask[:, :count]], 1)

    def _commit_whole_rows(self, count: int) -> None:
        """Keep the rows of which all is kept, without padding, and read what is kept of others again next time."""
        width = self.tail_mask.shape[1]
        lengths = zip(self.early, self.tails, strict=True)
        whole = [len(tail) <= count and len(early) + len(tail) == width for early, tail in lengths]
        if any(whole):
            kept = torch.tensor(whole, device=self.mask.device)
            self.mask = torch.cat([self.mask, self.tail_mask * kept[:, None]], 1)
        else:
            self.states.crop(width)
        self.states.restore(torch.tensor([not row for row in whole], device=self.mask.device))
        for early, tail, row in zip(self.early, self.tails, whole, strict=True):
            early[:] = [] if row else [*early, *tail[:count]]


class ChatHistory:
    """The turns of a conversation so far, as token ids and, as far as they were read, in the cache.

    A turn that fails, or whose stream is not read to its end, leaves no trace: the cache is then built again.

    Attributes:
        ids: Token ids of all turns, each with its end token; empty before the first turn.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._cached: CachedPrompts | None = None

    def open(self, model: LanguageModel, ids: Sequence[int], vectors: Tensor) -> CachedPrompts:
        """Begin a turn.

        Args:
            model: The language model.
            ids: Token ids of the previous turns and of what is read now.
            vectors: The image as the language model reads it, float ``[1, i, d]``.

        Returns:
            The cache after all these tokens.
        """
        cached, self._cached = self._cached, None
        if cached is None:
            return CachedPrompts(model, [list(ids)], vectors)
        cached.passes = 0
        cached.extend([ids[cached.length :]], keep=True)
        return cached

    def close(self, ids: Sequence[int], cached: CachedPrompts) -> None:
        """End a turn.

        Args:
            ids: Token ids of all turns, this one included with its answer and end token.
            cached: The cache, which holds a first part of them.
        """
        self.ids, self._cached = list(ids), cached


def whole_cache(config: Any) -> DynamicCache:  # noqa: ANN401
    """Return an empty key-value cache from which the last tokens can be removed again.

    Sliding-window layers keep all tokens too: a token that has left the window enters it again when later tokens are
    removed. The model's own mask still restricts attention to the window.

    Args:
        config: The model's config.
    """
    cache = DynamicCache(config=config)
    cache.layers = [DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer for layer in cache.layers]
    return cache
