"""Prompts of unequal lengths, read once, that can be extended again and again.

Notation: r: rows; t: tokens; i: image tokens; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lasagna.modules.base import LanguageModel
from lasagna.modules.contract import check_states
from lasagna.modules.rows import left_pad, right_pad, row_positions


class CachedPrompts:
    """Prompts in a language model's cache.

    Args:
        model: The language model.
        prompts: Token ids of each row.
        vectors: The image of each row as the language model reads it, float ``[r, i, d]``.
    """

    def __init__(self, model: LanguageModel, prompts: Sequence[list[int]], vectors: Tensor) -> None:
        self.model = model
        self.padding = model.preparation.padding_token_id
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
