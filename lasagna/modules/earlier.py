"""Earlier rounds of a talk, which the language model has read and keeps in its cache."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lasagna.modules.base import LanguageModel
from lasagna.modules.cached_prompts import CachedPrompts


class Earlier:
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
