"""Prompts of unequal lengths, read once, that can be extended again and again.

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


def right_pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return rows padded at the right, long ``[r, t]``, and the mask of real tokens, long ``[r, t]``."""
    longest = max(map(len, rows))
    ids = [[*row, *[padding] * (longest - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def left_pad(rows: Sequence[Sequence[int]], padding: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return rows padded at the left, long ``[r, t]``, and the mask of real tokens, long ``[r, t]``."""
    ids, mask = right_pad([list(row)[::-1] for row in rows], padding, device)
    return ids.flip(1), mask.flip(1)


def row_positions(mask: Tensor) -> Tensor:
    """Return the position of each token among the real ones of its row, long ``[r, t]``, whatever the padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


class CachedPrompts:
    """Prompts in a language model's cache.

    Args:
        model: The language model.
        prompts: Token ids of each row.
        vectors: The image of each row as the language model reads it, float ``[r, i, d]``.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[list[int]], vectors: Tensor) -> None:
        self.model = model
        self.padding = model.text_processor.padding_token_id
        ids, self.mask = left_pad(prompts, self.padding, vectors.device)
        self.cache = model.new_cache()
        check_states(model, model(model.embed(ids, vectors), self.mask, row_positions(self.mask), self.cache))
        self.no_vectors = vectors[:, :0]

    @property
    def length(self) -> int:
        """How many tokens of each row are remembered, padding included."""
        return self.mask.shape[1]

    def extend(self, tails: Sequence[Sequence[int]], keep: bool) -> Tensor:
        """Read tokens behind the prompts.

        Args:
            tails: Token ids of each row; a row without any stays as it is.
            keep: Whether to remember them.

        Returns:
            Their hidden states, float ``[r, t, d]``.
        """
        hidden = self.draft(tails)
        self.settle(hidden.shape[1] if keep else 0)
        return hidden

    def draft(self, tails: Sequence[Sequence[int]]) -> Tensor:
        """Read tokens behind the prompts, of which ``settle`` then says how many are remembered.

        Args:
            tails: Token ids of each row; a row without any stays as it is.

        Returns:
            Their hidden states, float ``[r, t, d]``.
        """
        ids, self.tail_mask = right_pad(tails, self.padding, self.mask.device)
        mask = torch.cat([self.mask, self.tail_mask], 1)
        positions = row_positions(mask)[:, -ids.shape[1] :]
        hidden: Tensor = self.model(self.model.embed(ids, self.no_vectors), mask, positions, self.cache)
        return hidden

    def settle(self, count: int) -> None:
        """Remember the first tokens of the draft and forget the others.

        Args:
            count: How many tokens of each row.
        """
        forgotten = self.tail_mask.shape[1] - count
        if forgotten:
            self.cache.crop(-forgotten)
        self.mask = torch.cat([self.mask, self.tail_mask[:, :count]], 1)


class ChatHistory:
    """The rounds of one talk so far, as token ids, and in the cache as far as they were read.

    A round that did not come to its end, because it failed or nobody listened, is as if it had not been; the cache is
    then made anew.

    Attributes:
        ids: Token ids of all rounds, each with its end token; none before the first round.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._cached: CachedPrompts | None = None

    def open(self, model: LanguageModel, ids: Sequence[int], vectors: Tensor) -> CachedPrompts:
        """Begin a round.

        Args:
            model: The language model.
            ids: Token ids of the earlier rounds and what is read now.
            vectors: The image as the language model reads it, float ``[1, i, d]``.

        Returns:
            The cache behind all these tokens.
        """
        cached, self._cached = self._cached, None
        if cached is None:
            return CachedPrompts(model, [list(ids)], vectors)
        cached.extend([ids[cached.length :]], keep=True)
        return cached

    def close(self, ids: Sequence[int], cached: CachedPrompts) -> None:
        """End a round.

        Args:
            ids: Token ids of all rounds, this one with its answer and end token.
            cached: The cache, behind some of them.
        """
        self.ids, self._cached = list(ids), cached


def whole_cache(config: Any) -> DynamicCache:  # noqa: ANN401
    """Return an empty key-value cache from which the last tokens can be taken back.

    Layers that look back a window only keep all tokens too: what has left the window comes back into it when tokens
    behind are taken back. That they do not look further is what the model's own mask says.

    Args:
        config: The model's config.
    """
    cache = DynamicCache(config=config)
    cache.layers = [DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer for layer in cache.layers]
    return cache
